//! One session's kernel events.
//!
//! A tracer is always opened from the session's pins, whether it has just made them or takes over from an owner
//! that died: there is one way in.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::maps::{HashMap as BpfHashMap, MapData, PerCpuArray, RingBuf};
use tracer_ebpf::names;
use tracer_ebpf::wire::{Fate, ProcessKey, lost};

use super::bpffs::Directory;
use super::error::KernelError;
use super::hook;
use super::log::KernelLog;
use super::map_value::MapValue;
use super::pins::{self, Installed};
use super::stalls::Stalls;
use crate::core::decode;
use crate::core::event::{Event, EventBody, IdentityExtras, ProcessFate};
use crate::core::identity::ProcessId;

/// What a session asks of the kernel side.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The session's name, a file name without dots.
    pub session: String,
    /// Shorter stalls are not reported, nanoseconds.
    pub stall_threshold_ns: u64,
    /// Whether the kernel programs write their debug log.
    pub kernel_log: bool,
    /// The directory in which the session's sidecar will be. Should owner and directory go, anybody may collect the
    /// pins. `None`: there will be no sidecar.
    pub traces: Option<PathBuf>,
    /// As if the kernel missed every run of the program that tells of ends, as newer ones may: the programs behind it have
    /// to. For tests.
    pub misses_exits: bool,
}

/// What did not fit into the kernel's buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Events that the ring had no room for.
    pub ring: u64,
    /// Processes or fates that a map had no room for.
    pub members: u64,
    /// Ended stalls that were overwritten before they were read.
    pub stalls: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
}

impl Lost {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.ring + self.members + self.stalls + self.undecodable
    }
}

/// How long a process that has ended still counts as the session's when a stall of it turns up.
const REMEMBER_NS: u64 = 5_000_000_000;

/// See the module.
pub struct KernelTracer {
    directory: Directory,
    path: PathBuf,
    ring: RingBuf<MapData>,
    live: BpfHashMap<MapData, u32, u64>,
    fates: BpfHashMap<MapData, MapValue<ProcessKey>, MapValue<Fate>>,
    lost: PerCpuArray<MapData, u64>,
    stalls: Stalls,
    /// Processes of the session, and when they ended.
    members: HashMap<ProcessId, Option<u64>>,
    undecodable: u64,
    installed: Installed,
}

impl KernelTracer {
    /// Loads the programs for a new session, and pins them.
    pub fn start(settings: &Settings) -> Result<Self, KernelError> {
        pins::in_first_pid_namespace()?;
        let directory = Directory::open_or_create()?;
        let installed = pins::install(&directory, settings)?;
        let path = directory.session(&settings.session);
        let tracer = Self::open_in(directory, path.clone(), settings.stall_threshold_ns, installed);
        if tracer.is_err()
            && let Ok(Some(directory)) = Directory::open_existing()
        {
            let _ = pins::remove(&directory, &path);
        }
        tracer
    }

    /// Takes over a session whose owner died. The kernel went on recording: nothing in between is missing but
    /// what [`Self::lost`] counts.
    pub fn open(session: &str, stall_threshold_ns: u64) -> Result<Self, KernelError> {
        pins::in_first_pid_namespace()?;
        let directory = Directory::open_or_create()?;
        let path = directory.session(session);
        // Who looks at the pins may have the lock for a moment; the sidecar's is what decides whose the session is.
        let installed = Installed { _lock: directory.own(session), ..Installed::default() };
        let others = hook::of_session(&directory, &path).is_ok_and(|hook| hook != hook::path(&directory));
        Self::open_in(directory, path, stall_threshold_ns, installed).map_err(|error| {
            if !others {
                return error;
            }
            KernelError::Refused {
                what: "another version of this tool made the session's pins".to_owned(),
                why: format!("{error}; recover it with that version"),
            }
        })
    }

    fn open_in(
        directory: Directory,
        path: PathBuf,
        stall_threshold_ns: u64,
        installed: Installed,
    ) -> Result<Self, KernelError> {
        fn typed<T, E>(path: &Path, name: &str) -> Result<T, KernelError>
        where
            T: TryFrom<aya::maps::Map, Error = E>,
            E: std::error::Error + 'static,
        {
            T::try_from(pins::typed_map(&path.join(name))?)
                .map_err(|error| KernelError::of(format!("opening the session's map {name}"), error))
        }
        let stalls = Stalls::open(&directory, &path, stall_threshold_ns)?;
        let mut tracer = Self {
            ring: typed(&path, names::EVENTS)?,
            live: typed(&path, names::LIVE)?,
            fates: typed(&path, names::FATES)?,
            lost: typed(&path, names::LOST)?,
            stalls,
            members: HashMap::new(),
            undecodable: 0,
            directory,
            path,
            installed,
        };
        for fate in tracer.fates() {
            tracer.members.insert(fate.process, fate.ended.map(|(boot_ns, _)| boot_ns));
        }
        Ok(tracer)
    }

    /// Where the session is pinned.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Readable when much is waiting in the ring. Little is not announced: drain every 50 ms or so as well.
    pub fn ring_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the ring, which lives as long as the borrow of self.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    /// Makes a living process a member; what it forks from now on follows by itself. The caller checks
    /// afterwards that the process still lives, and calls [`Self::withdraw`] if not.
    pub fn enroll(&mut self, process: ProcessId, extras: &IdentityExtras) -> Result<(), KernelError> {
        let what = "enrolling a process";
        let key = MapValue(decode::process_key(process));
        // The fate first: from the moment the process is in `LIVE` its exit is written there.
        self.fates
            .insert(key, MapValue(decode::enrolled_fate(extras)), 1 /* BPF_NOEXIST */)
            .or_else(|error| match error {
                // Its parent had been enrolled when it was forked.
                aya::maps::MapError::SyscallError(ref call) if call.io_error.raw_os_error() == Some(17) => {
                    Ok(())
                }
                other => Err(other),
            })
            .map_err(|error| KernelError::of(what, error))?;
        self.live
            .insert(process.tgid, process.start_ticks, 0)
            .map_err(|error| KernelError::of(what, error))?;
        self.members.insert(process, None);
        Ok(())
    }

    /// Takes back an enrolment whose process turned out to be gone.
    pub fn withdraw(&mut self, process: ProcessId) {
        if self.live.get(&process.tgid, 0).is_ok_and(|start| start == process.start_ticks) {
            let _ = self.live.remove(&process.tgid);
        }
        let _ = self.fates.remove(&MapValue(decode::process_key(process)));
        self.members.remove(&process);
    }

    /// All events that wait, and the stalls that have ended. Ends of processes are taken out of the fate map.
    pub fn drain(&mut self, events: &mut Vec<Event>) {
        self.drain_keeping_fates(events);
        self.forget_ended(events);
    }

    /// Takes the ends that these events told out of the fate map: once they are written down, not before, so that an
    /// owner that dies in between loses none.
    pub fn forget_ended(&mut self, events: &[Event]) {
        for event in events {
            if let EventBody::Exit(exit) = &event.body {
                let _ = self.fates.remove(&MapValue(decode::process_key(exit.process)));
            }
        }
    }

    /// As [`Self::drain`], with the fate map left as it is: see [`Self::forget_ended`].
    pub fn drain_keeping_fates(&mut self, events: &mut Vec<Event>) {
        while let Some(record) = self.ring.next() {
            match decode::event(&record) {
                Ok(event) => events.push(event),
                Err(_) => self.undecodable += 1,
            }
        }
        for event in events.iter() {
            match &event.body {
                EventBody::Fork(fork) => {
                    self.members.insert(fork.child, None);
                }
                EventBody::Exit(exit) => {
                    self.members.insert(exit.process, Some(event.boot_ns));
                }
                _ => {}
            }
        }
        self.stalls.drain_ended(&self.members, events);
        events.sort_by_key(|event| event.boot_ns);
        if let Some(newest) = events.last().map(|event| event.boot_ns) {
            self.members
                .retain(|_, ended| ended.is_none_or(|ended| newest.saturating_sub(ended) < REMEMBER_NS));
        }
    }

    /// Stalls that have lasted for the threshold at `now_boot_ns` and were not reported yet. Processes whose fork
    /// has not been [drained](Self::drain) are not known to be members.
    pub fn open_stalls(&mut self, now_boot_ns: u64, events: &mut Vec<Event>) {
        self.stalls.walk_open(now_boot_ns, &self.members, events);
    }

    /// What the kernel knows of every process that [`Self::drain`] has not collected: those that run, and those
    /// whose exit event was lost.
    pub fn fates(&self) -> Vec<ProcessFate> {
        self.fates.iter().flatten().map(|(key, fate)| decode::fate(key.0, &fate.0)).collect()
    }

    /// The processes of the session that live, as the kernel has them.
    pub fn living(&self) -> Vec<ProcessId> {
        self.live.iter().flatten().map(|(tgid, start_ticks)| ProcessId { tgid, start_ticks }).collect()
    }

    /// What did not fit so far.
    pub fn lost(&self) -> Lost {
        let count = |index| self.lost.get(&index, 0).map_or(0, |values| values.iter().copied().sum());
        Lost {
            ring: count(lost::EVENTS),
            members: count(lost::MEMBERS),
            stalls: self.stalls.missed(),
            undecodable: self.undecodable,
        }
    }

    /// What the kernel programs have logged since the last call; nothing unless that was asked for.
    pub fn debug_lines(&mut self) -> Vec<String> {
        self.installed.log.as_mut().map_or_else(Vec::new, KernelLog::lines)
    }

    /// Kernel fields that this kernel does not have and whose facts are therefore unknown. Empty for a session
    /// that was taken over: its header has them.
    pub fn missing_fields(&self) -> &[String] {
        &self.installed.missing
    }

    /// Ends the kernel side of the session: detaches and unpins, and the shared hook with the last session.
    pub fn finish(self) -> Result<(), KernelError> {
        pins::remove(&self.directory, &self.path)
    }
}
