//! Looks into the kernel on demand: at a slot of the hook, or at one of this process's own file descriptors.
//!
//! The programs are run by `BPF_PROG_TEST_RUN` and never attached. Their answer is in a map that belongs to whoever asks:
//! invariant, one asker at a time, which `&mut` or a session's single owner keeps.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::Path;

use aya::Ebpf;
use aya::maps::{Array, Map, MapData};
use aya::programs::{RawTracePoint, RawTracePointRunOptions, TestRun as _};
use tracer_ebpf::limits;
use tracer_ebpf::names::{self, FILL, LOOK, ProgramName};
use tracer_ebpf::wire::{self, ask};

use super::error::KernelError;
use super::map_value::MapValue;
use super::pins;
use crate::core::decode::{self, Inspection};
use crate::core::event::ResourceKind;

/// Buffers of a pipe whose bytes are added up: what a pipe of the system's usual limit, 1 MiB, has.
const MAX_BUFFERS: u32 = 256;

enum Programs {
    /// A session's: [`names::LOOK`] and [`names::FILL`].
    Pinned(Box<[RawTracePoint; 2]>),
    /// Our own.
    Loaded(Box<Ebpf>),
}

/// See the module.
pub struct Inspector {
    programs: Programs,
    answer: Array<MapData, MapValue<wire::Inspection>>,
}

impl Inspector {
    /// A session's own, from its pins.
    pub(super) fn of_session(session: &Path) -> Result<Self, KernelError> {
        let pinned = |ProgramName { name, .. }: ProgramName| {
            RawTracePoint::from_pin(session.join(name))
                .map_err(|error| KernelError::of(format!("opening the program {name}"), error))
        };
        Ok(Self {
            programs: Programs::Pinned(Box::new([pinned(LOOK)?, pinned(FILL)?])),
            answer: answer(pins::typed_map(&session.join(names::INSPECTION))?)?,
        })
    }

    /// One without a session: nothing is attached, pinned or seen of others, and all goes with this value. Takes some
    /// tens of milliseconds.
    ///
    /// # Errors
    /// Why this kernel or this user cannot have it.
    pub fn load() -> Result<Self, KernelError> {
        let mut ebpf = pins::load_unpinned()?;
        for named in [LOOK, FILL] {
            let program: &mut RawTracePoint = pins::program(&mut ebpf, named)?;
            let what = || format!("loading the program {}", named.name);
            program.load().map_err(|error| KernelError::of(what(), error))?;
        }
        let answer =
            answer(ebpf.take_map(names::INSPECTION).ok_or_else(|| pins::wrong_object(names::INSPECTION))?)?;
        Ok(Self { programs: Programs::Loaded(Box::new(ebpf)), answer })
    }

    /// What the kernel knows of one of this process's own file descriptors. `None` when it would not say.
    pub fn own_fd(&self, fd: BorrowedFd<'_>) -> Option<Inspection> {
        self.ask(ask::OWN_FD, fd.as_raw_fd() as u64)
    }

    /// What the kernel knows of what is asked for, see [`ask`].
    pub(super) fn ask(&self, what: u64, which: u64) -> Option<Inspection> {
        self.run(LOOK, [what, which])?;
        let mut found = decode::inspection(&self.answer.get(&0, 0).ok()?.0)?;
        if let (ResourceKind::Pipe | ResourceKind::Fifo, Some(file)) = (found.stall.kind, found.file) {
            found.stall.used_bytes = self.bytes_in_pipe(file, found.stall.slots?.0);
        }
        Some(found)
    }

    /// Runs one of the programs with two arguments. `None` when the kernel would not.
    fn run(&self, named: ProgramName, arguments: [u64; 2]) -> Option<()> {
        let mut options = RawTracePointRunOptions::new();
        options.args[..2].copy_from_slice(&arguments);
        let program = match &self.programs {
            Programs::Pinned(both) => &both[usize::from(named == FILL)],
            Programs::Loaded(ebpf) => ebpf.program(named.name)?.try_into().ok()?,
        };
        program.test_run(options).ok().map(drop)
    }

    /// The bytes in a pipe of which so many buffers are in use; `None` when there are too many to look at.
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

fn answer(map: Map) -> Result<Array<MapData, MapValue<wire::Inspection>>, KernelError> {
    map.try_into().map_err(|error| KernelError::of(format!("opening the map {}", names::INSPECTION), error))
}
