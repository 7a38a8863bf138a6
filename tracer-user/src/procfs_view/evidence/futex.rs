//! Calls that sleep at a futex, and the owner that the word or the mutex around it names.

use super::syscall::BlockedCall;
use crate::core::evidence::{FutexOp, Timeout, Wait};

const FUTEX_PRIVATE_FLAG: u32 = 128;
const FUTEX_CLOCK_REALTIME: u32 = 256;
const FUTEX2_PRIVATE: u32 = 128;
const FUTEX_TID_MASK: u32 = 0x3fff_ffff;
const PID_MAX: u32 = 4_194_304;

impl BlockedCall<'_> {
    /// The wait of futex, futex_wait or futex_waitv.
    pub(super) fn futex(&self) -> Wait {
        let [addr, a1, a2, a3, a4, a5] = self.args;
        match self.name {
            "futex_waitv" => {
                // struct futex_waitv { u64 val; u64 uaddr; u32 flags; u32 reserved }
                let Some(first) = self.memory.bytes(addr, 24) else { return self.unread_futex() };
                let long = |at: usize| first[at..at + 8].try_into().map(u64::from_ne_bytes).unwrap_or(0);
                let flags = first[16..20].try_into().map(u32::from_ne_bytes).unwrap_or(0);
                let private = flags & FUTEX2_PRIVATE != 0;
                self.futex_at(long(8), private, long(0) as u32, FutexOp::WaitV, self.absolute(a3, a4))
            }
            "futex_wait" => {
                // futex_wait(addr, val, mask, flags, timespec, clock)
                let private = a3 as u32 & FUTEX2_PRIVATE != 0;
                self.futex_at(addr, private, a1 as u32, FutexOp::Wait, self.absolute(a4, a5))
            }
            _ => {
                let command = a1 as u32 & 0x7f;
                let private = a1 as u32 & FUTEX_PRIVATE_FLAG != 0;
                let realtime = a1 as u32 & FUTEX_CLOCK_REALTIME != 0;
                let clock = u64::from(!realtime);
                let (op, timeout) = match command {
                    0 => (FutexOp::Wait, self.relative(a3)),
                    9 => (FutexOp::Wait, self.absolute(a3, clock)),
                    6 => (FutexOp::LockPi, self.absolute(a3, 0)),
                    13 => (FutexOp::LockPi, self.absolute(a3, clock)),
                    11 => (FutexOp::WaitRequeuePi, self.absolute(a3, clock)),
                    _ => return Wait::Other { nr: self.number },
                };
                self.futex_at(addr, private, a2 as u32, op, timeout)
            }
        }
    }

    fn unread_futex(&self) -> Wait {
        Wait::Futex {
            addr: 0,
            private: false,
            value: 0,
            word: None,
            op: FutexOp::WaitV,
            timeout: Timeout::Unknown,
            owner_tid: None,
            shared: None,
        }
    }

    fn futex_at(&self, addr: u64, private: bool, value: u32, op: FutexOp, timeout: Timeout) -> Wait {
        let word = self.memory.u32(addr);
        let owner_tid = match op {
            FutexOp::LockPi => word.map(|word| word & FUTEX_TID_MASK).filter(|tid| *tid != 0),
            FutexOp::Wait => self.mutex_owner(addr, word),
            _ => None,
        };
        Wait::Futex { addr, private, value, word, op, timeout, owner_tid, shared: None }
    }

    /// The owner that glibc notes beside a mutex's word, where the bytes there look like one of its mutexes:
    /// `{ int lock; unsigned count; int owner; unsigned nusers; int kind; … }`
    /// (`struct __pthread_mutex_s`, sysdeps/nptl/bits/struct_mutex.h).
    fn mutex_owner(&self, addr: u64, word: Option<u32>) -> Option<u32> {
        let word = word?;
        let fields = self.memory.bytes(addr, 20)?;
        let field = |at: usize| fields.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let (owner, users, kind) = (field(8)?, field(12)?, field(16)?);
        let robust = kind & 0x10 != 0;
        let held = if robust { word & FUTEX_TID_MASK == owner } else { word == 2 };
        let plausible = kind & !0x1b3 == 0 && (1..1 << 20).contains(&users) && (1..=PID_MAX).contains(&owner);
        (held && plausible).then_some(owner)
    }
}
