//! Questions to the kernel on demand: about a slot of the hook, or about one of this process's file
//! descriptors.
//!
//! The programs are run by `BPF_PROG_TEST_RUN` and never attached. Their answer is in a map that belongs to
//! the one that asks. Invariant: one question at a time, which `&mut` or a session's single owner keeps.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::Path;

use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::{RawTracePoint, RawTracePointRunOptions, TestRun as _};
use tracer_ebpf::limits;
use tracer_ebpf::names::{self, FILL, LOOK, ProgramName};
use tracer_ebpf::wire::{self, ask};

use super::error::KernelError;
use super::handles::{MapValue, loaded_map, pinned_map, pinned_program, program};
use super::layout::Layout;
use super::load::{self, LoadParams};
use crate::core::decode::{self, Inspection};
use crate::core::event::ResourceKind;

/// Most buffers of a pipe whose bytes are added up. A pipe of the system's usual limit, 1 MiB, has as many.
const MAX_BUFFERS: u32 = 256;

enum Programs {
    /// A session's: [`LOOK`] and [`FILL`].
    Pinned(Box<[RawTracePoint; 2]>),
    /// Of an object that belongs to this inspector alone.
    Loaded(Box<Ebpf>),
}

/// Asks the inspection programs.
pub struct Inspector {
    programs: Programs,
    answer: Array<MapData, MapValue<wire::Inspection>>,
}

impl Inspector {
    /// A session's inspector, from its pins.
    pub(super) fn of_session(session: &Path) -> Result<Self, KernelError> {
        let programs = [pinned_program(session, LOOK)?, pinned_program(session, FILL)?];
        Ok(Self {
            programs: Programs::Pinned(Box::new(programs)),
            answer: pinned_map(session, names::INSPECTION)?,
        })
    }

    /// An inspector without a session: nothing is attached, pinned or visible to other processes, and
    /// everything ends with this value. Takes some tens of milliseconds.
    ///
    /// # Errors
    /// Why this kernel refuses, or refuses this user.
    pub fn load() -> Result<Self, KernelError> {
        let params = LoadParams::of(Layout::of_running_kernel()?, false)?;
        let mut loader = params.loader();
        for unused in [&names::SESSION_MAPS[..], &names::HOOK_MAPS, &names::WINDOW_MAPS] {
            load::shrink(&mut loader, unused);
        }
        let mut ebpf = load::load_object(&mut loader)?;
        for wanted in [LOOK, FILL] {
            let program: &mut RawTracePoint = program(&mut ebpf, wanted)?;
            let what = || format!("loading the program {}", wanted.name);
            program.load().map_err(|error| KernelError::of(what(), error))?;
        }
        let answer = loaded_map(&mut ebpf, names::INSPECTION)?;
        Ok(Self { programs: Programs::Loaded(Box::new(ebpf)), answer })
    }

    /// What the kernel knows of one of this process's file descriptors. `None` when it did not answer.
    pub fn own_fd(&self, fd: BorrowedFd<'_>) -> Option<Inspection> {
        self.ask(ask::OWN_FD, fd.as_raw_fd() as u64)
    }

    /// What the kernel knows of `which`, a thing of the kind `what` ([`ask`]).
    pub(super) fn ask(&self, what: u64, which: u64) -> Option<Inspection> {
        self.run(LOOK, [what, which])?;
        let mut found = decode::inspection(&self.answer.get(&0, 0).ok()?.0)?;
        if let (ResourceKind::Pipe | ResourceKind::Fifo, Some(file)) = (found.stall.kind, found.file) {
            found.stall.used_bytes = self.bytes_in_pipe(file, found.stall.slots?.0);
        }
        Some(found)
    }

    /// Runs one of the programs with two arguments. `None` when the kernel refused.
    fn run(&self, wanted: ProgramName, arguments: [u64; 2]) -> Option<()> {
        let mut options = RawTracePointRunOptions::new();
        options.args[..2].copy_from_slice(&arguments);
        let program = match &self.programs {
            Programs::Pinned(both) => &both[usize::from(wanted == FILL)],
            Programs::Loaded(ebpf) => ebpf.program(wanted.name)?.try_into().ok()?,
        };
        program.test_run(options).ok().map(drop)
    }

    /// Bytes in a pipe that uses this many buffers. `None` when there are too many to read.
    fn bytes_in_pipe(&self, file: u64, buffers: u32) -> Option<u64> {
        if buffers > MAX_BUFFERS {
            return None;
        }
        let firsts = (0..buffers).step_by(limits::PIPE_BUFFERS as usize);
        firsts
            .map(|first| {
                self.run(FILL, [file, u64::from(first)])?;
                decode::inspection(&self.answer.get(&0, 0).ok()?.0)?.stall.used_bytes
            })
            .sum()
    }
}
