//! A counter of the system calls that some processes make during a window of observation.
//!
//! Threads that poll (a lock that is tried twenty times a second, a read that returns 0 again and again) look
//! active by their CPU time and switches. What their calls return distinguishes polling from progress.
//!
//! Nothing is pinned: program, perf event and maps belong to descriptors of this process and end with it,
//! however it ends. Every other process pays one look-up in a map per system call for as long as the window
//! lasts. The kernel programs of a session and the kernel's type information are not needed.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::Ebpf;
use aya::maps::{HashMap as BpfHashMap, MapData, PerCpuArray};
use aya::programs::TracePoint;
use tracer_ebpf::names::{self, Hook};
use tracer_ebpf::wire::{CallKey, CallTotals};

use super::error::KernelError;
use super::handles::{MapValue, loaded_map, not_in_object, program};
use super::load::{bare_loader, load_object, shrink};
use super::{perf_event, pid_namespace};
use crate::core::identity::OwnNamespaces;

/// What the watched processes' system calls returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// One entry per thread and call, by thread and number.
    pub calls: Vec<CallCount>,
    /// Calls that were not counted, because the map had no room for another pair of thread and call.
    pub overflow: u64,
}

/// How often one thread made one system call, and what it returned.
///
/// A call counts when it returns: one that blocks throughout the window is in no entry. `restart_syscall`
/// counts under its own number. The numbers of a 32-bit program are those of its own table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallCount {
    /// The thread.
    pub tid: u32,
    /// Its process.
    pub tgid: u32,
    /// System call number.
    pub nr: u64,
    /// Calls in all.
    pub calls: u64,
    /// Calls that returned 0.
    pub zero: u64,
    /// Calls that returned another value that is not an error.
    pub positive: u64,
    /// Sum of these values: bytes, for calls that move data.
    pub sum_positive: u64,
    /// Error number and calls that failed with it, the most frequent first. At most four errors are counted
    /// apart: the calls that failed with others are in `calls` alone. 512 to 531 are the kernel's own: a
    /// signal interrupted the call, and the kernel restarts it or turns the error into EINTR.
    pub errors: Vec<(i32, u64)>,
}

/// Counts system calls from [`Self::start`] until [`Self::stop`], or until it is dropped.
pub struct WindowCounter {
    calls: BpfHashMap<MapData, MapValue<CallKey>, MapValue<CallTotals>>,
    uncounted: PerCpuArray<MapData, u64>,
    /// The perf event. The program is attached for as long as it is open.
    attached: Option<OwnedFd>,
    _ebpf: Ebpf,
}

impl WindowCounter {
    /// Begins to count the system calls of all threads of these processes. Their later children are not
    /// counted.
    ///
    /// # Errors
    /// Why this kernel refuses, or refuses this user.
    pub fn start(tgids: &[u32], own: OwnNamespaces) -> Result<Self, KernelError> {
        pid_namespace::require_initial(own)?;
        let mut loader = bare_loader();
        for unused in [&names::SESSION_MAPS[..], &names::HOOK_MAPS, &[names::DEBUG_LOG]] {
            shrink(&mut loader, unused);
        }
        loader.map_max_entries(names::WATCHED, u32::try_from(tgids.len()).unwrap_or(u32::MAX).max(1));
        let mut ebpf = load_object(&mut loader)?;
        let mut watched: BpfHashMap<MapData, u32, u32> = loaded_map(&mut ebpf, names::WATCHED)?;
        for tgid in tgids {
            watched
                .insert(tgid, 0, 0)
                .map_err(|error| KernelError::of("naming the processes whose calls are counted", error))?;
        }
        let attached = attach(&mut ebpf)?;
        Ok(Self {
            calls: loaded_map(&mut ebpf, names::CALLS)?,
            uncounted: loaded_map(&mut ebpf, names::UNCOUNTED)?,
            attached: Some(attached),
            _ebpf: ebpf,
        })
    }

    /// Ends the window. The counts can still be read.
    pub fn stop(&mut self) {
        self.attached = None;
    }

    /// The counts so far. To be [stopped](Self::stop) before the last reading: a call that returns meanwhile
    /// may be counted in part, or not at all.
    ///
    /// # Errors
    /// When the kernel does not hand out the counts.
    pub fn read(&self) -> Result<WindowCounts, KernelError> {
        let what = "reading the counts of system calls";
        // The kernel gives a key twice when entries are added to the map meanwhile.
        let mut counts = HashMap::new();
        for entry in self.calls.iter() {
            let (MapValue(key), MapValue(totals)) = entry.map_err(|error| KernelError::of(what, error))?;
            counts.insert((key.tid, key.number), count(key, &totals));
        }
        let mut calls: Vec<CallCount> = counts.into_values().collect();
        calls.sort_by_key(|count| (count.tid, count.nr));
        let uncounted = self.uncounted.get(&0, 0).map_err(|error| KernelError::of(what, error))?;
        Ok(WindowCounts { calls, overflow: uncounted.iter().sum() })
    }
}

fn attach(ebpf: &mut Ebpf) -> Result<OwnedFd, KernelError> {
    let Hook::PerfEvent(event) = names::ON_RETURN.hook else {
        return Err(not_in_object(names::ON_RETURN.name));
    };
    let what = || format!("counting system calls ({event})");
    let program: &mut TracePoint = program(ebpf, names::ON_RETURN)?;
    program.load().map_err(|error| KernelError::of(what(), error))?;
    let fd = program.fd().map_err(|error| KernelError::of(what(), error))?;
    perf_event::attach(event, fd.as_fd()).map_err(|error| KernelError::of(what(), error))
}

fn count(key: CallKey, totals: &CallTotals) -> CallCount {
    let errors = totals.errors.iter().filter(|error| error.errno != 0);
    let mut errors: Vec<(i32, u64)> = errors.map(|error| (error.errno as i32, error.calls)).collect();
    errors.sort_by_key(|(errno, calls)| (std::cmp::Reverse(*calls), *errno));
    CallCount {
        tid: key.tid,
        tgid: totals.tgid,
        nr: u64::from(key.number),
        calls: totals.calls,
        zero: totals.zeros,
        positive: totals.positives,
        sum_positive: totals.sum,
        errors,
    }
}
