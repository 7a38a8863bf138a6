//! One session's kernel events.
//!
//! A tracer is always opened from the session's pins, whether it has just made them or takes over from an
//! owner that died: there is one way in.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::maps::{HashMap as BpfHashMap, MapData, MapError, PerCpuArray, RingBuf};
use rustix::io::Errno;
use tracer_ebpf::names::{self, ProgramName};
use tracer_ebpf::wire::{Fate, ProcessKey, lost};

use super::bpffs::Directory;
use super::error::KernelError;
use super::handles::{MapValue, pinned_map};
use super::install::{self, Installed};
use super::log::KernelLog;
use super::settings::Settings;
use super::stalls::Stalls;
use super::{hook, pid_namespace, pins};
use crate::core::decode;
use crate::core::event::{Event, EventBody, IdentityExtras, ProcessFate};
use crate::core::identity::{OwnNamespaces, ProcessId};

/// Counts of what did not fit into the kernel's buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Events for which the ring had no room.
    pub ring: u64,
    /// Processes or fates for which a map had no room.
    pub members: u64,
    /// Ended stalls that were overwritten before they were read.
    pub stalls: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
}

impl Lost {
    /// The sum of all counts.
    pub fn total(&self) -> u64 {
        self.ring + self.members + self.stalls + self.undecodable
    }
}

/// How long a process that has ended still counts as the session's when the end of a stall of it is read.
const REMEMBER_NS: u64 = 5_000_000_000;

/// `BPF_NOEXIST` (`include/uapi/linux/bpf.h`): insert only.
const NO_EXIST: u64 = 1;

/// Reads a session's maps and ring.
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
    ///
    /// # Errors
    /// Why this kernel refuses, or refuses this user.
    pub fn start(settings: &Settings) -> Result<Self, KernelError> {
        Self::start_without(settings, None)
    }

    /// Loads and attaches the programs as a session would, and pins nothing. Returns the optional fields that
    /// this kernel does not have.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn try_out(own: OwnNamespaces) -> Result<Vec<String>, KernelError> {
        pid_namespace::require_initial(own)?;
        // A session needs the directory, too.
        Directory::open_or_create()?;
        install::try_out()
    }

    /// As [`Self::start`], without the program that reports ends. A kernel of 7.0 or later may miss any of
    /// its runs, and this misses all of them: the other programs have to report every end.
    ///
    /// # Errors
    /// As [`Self::start`].
    #[cfg(feature = "fault-injection")]
    pub fn start_missing_exits(settings: &Settings) -> Result<Self, KernelError> {
        Self::start_without(settings, Some(names::ON_EXIT))
    }

    fn start_without(settings: &Settings, left_out: Option<ProgramName>) -> Result<Self, KernelError> {
        pid_namespace::require_initial(settings.namespaces)?;
        let directory = Directory::open_or_create()?;
        let installed = install::install(&directory, settings, left_out)?;
        let path = directory.session(&settings.session);
        let tracer = Self::open_in(directory, path.clone(), settings.stall_threshold_ns, installed);
        if tracer.is_err()
            && let Ok(Some(directory)) = Directory::open_existing()
        {
            let _ = pins::remove(&directory, &path);
        }
        tracer
    }

    /// Takes over a session whose owner died. The kernel went on recording, so that nothing in between is
    /// missing but what [`Self::lost`] counts.
    ///
    /// # Errors
    /// When the session has no pins, or they cannot be read.
    pub fn open(session: &str, stall_threshold_ns: u64, own: OwnNamespaces) -> Result<Self, KernelError> {
        pid_namespace::require_initial(own)?;
        let directory = Directory::open_or_create()?;
        let path = directory.session(session);
        // A process that only looks at the pins may have their lock for a moment. The sidecar's lock decides
        // who owns the session.
        let installed = Installed { _lock: directory.own(session), ..Installed::default() };
        let is_other_version =
            hook::of_session(&directory, &path).is_ok_and(|hook| hook != hook::path(&directory));
        Self::open_in(directory, path, stall_threshold_ns, installed).map_err(|error| {
            if !is_other_version {
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
        let stalls = Stalls::open(&directory, &path, stall_threshold_ns)?;
        let mut tracer = Self {
            ring: pinned_map(&path, names::EVENTS)?,
            live: pinned_map(&path, names::LIVE)?,
            fates: pinned_map(&path, names::FATES)?,
            lost: pinned_map(&path, names::LOST)?,
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

    /// The directory in which the session is pinned.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A descriptor that is readable when much is waiting in the ring. Less is not signaled: drain every 50
    /// ms or so as well.
    pub fn ring_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the ring, which lives as long as the borrow of self.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    /// Makes a living process a member. Its later children follow by themselves. The caller checks afterwards
    /// that the process still lives, and calls [`Self::withdraw`] if not.
    ///
    /// # Errors
    /// When the session has no room for another process.
    pub fn enroll(&mut self, process: ProcessId, extras: &IdentityExtras) -> Result<(), KernelError> {
        let what = "enrolling a process";
        // The fate first: from the moment the process is in `LIVE`, its exit is recorded there.
        let key = MapValue(decode::process_key(process));
        match self.fates.insert(key, MapValue(decode::enrolled_fate(extras)), NO_EXIST) {
            // Its parent was a member when it forked the process.
            Err(MapError::SyscallError(call))
                if call.io_error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => {}
            inserted => inserted.map_err(|error| KernelError::of(what, error))?,
        }
        self.live
            .insert(process.tgid, process.start_ticks, 0)
            .map_err(|error| KernelError::of(what, error))?;
        self.members.insert(process, None);
        Ok(())
    }

    /// Takes back the enrollment of a process that turned out to be gone.
    pub fn withdraw(&mut self, process: ProcessId) {
        if self.live.get(&process.tgid, 0).is_ok_and(|start| start == process.start_ticks) {
            let _ = self.live.remove(&process.tgid);
        }
        let _ = self.fates.remove(&MapValue(decode::process_key(process)));
        self.members.remove(&process);
    }

    /// Appends all events that wait, and the stalls that have ended. The ends of processes are removed from
    /// the fate map.
    pub fn drain(&mut self, events: &mut Vec<Event>) {
        self.drain_keeping_fates(events);
        let ended = events.iter().filter_map(|event| match &event.body {
            EventBody::Exit(exit) => Some(exit.process),
            _ => None,
        });
        self.forget_ended(ended.collect::<Vec<_>>());
    }

    /// Removes the ends of these processes from the fate map. To be called once they are written down, not
    /// before, so that an owner that dies in between loses none.
    pub fn forget_ended(&mut self, ended: impl IntoIterator<Item = ProcessId>) {
        for process in ended {
            let _ = self.fates.remove(&MapValue(decode::process_key(process)));
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

    /// Appends the stalls that have lasted for the threshold at `now_boot_ns` and were not reported yet. A
    /// process whose fork has not been [drained](Self::drain) does not count as a member.
    pub fn open_stalls(&mut self, now_boot_ns: u64, events: &mut Vec<Event>) {
        self.stalls.walk_open(now_boot_ns, &self.members, events);
    }

    /// The fate of every process that [`Self::drain`] has not collected: those that run, and those whose exit
    /// event was lost.
    pub fn fates(&self) -> Vec<ProcessFate> {
        self.fates.iter().flatten().map(|(key, fate)| decode::fate(key.0, &fate.0)).collect()
    }

    /// The living processes of the session, as the kernel has them.
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

    /// What the kernel programs have logged since the last call. Empty unless the log was asked for.
    pub fn debug_lines(&mut self) -> Vec<String> {
        self.installed.log.as_mut().map_or_else(Vec::new, KernelLog::lines)
    }

    /// Optional kernel fields that this kernel does not have, whose facts are therefore unknown. Empty for a
    /// session that was taken over: the header of its trace has them.
    pub fn missing_fields(&self) -> &[String] {
        &self.installed.missing
    }

    /// Ends the kernel side of the session: detaches and unpins it, and the shared hook with the last
    /// session.
    ///
    /// # Errors
    /// When pins cannot be removed.
    pub fn finish(self) -> Result<(), KernelError> {
        pins::remove(&self.directory, &self.path)
    }
}
