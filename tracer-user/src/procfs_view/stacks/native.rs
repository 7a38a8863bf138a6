//! Frames of machine code: unwound by the tables of the mapped files, named by their symbols.
//!
//! `/proc/PID/task/TID/syscall` gives stack pointer and program counter. The functions that address their
//! frame by the stack pointer are unwound with these alone; for the others see
//! [`call_site`](super::call_site). On aarch64 the link register is not known either, so the stack of a
//! leaf function has one frame there.

use std::collections::BTreeMap;

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, FrameAddress, UnwindRegsNative, Unwinder, UnwinderNative,
};

use super::asleep::{Asleep, MOST_FRAMES};
use super::call_site;
use super::elf::Module;

use crate::core::evidence::{ByteString, FrameKind, StackFrame};
use crate::procfs_view::evidence::Memory;
use crate::procfs_view::maps::{self, Mapping};
use crate::procfs_view::proc_dir::ProcDir;

/// Bytes of a stack that are read at most.
const MOST_STACK: u64 = 1 << 20;
/// The value of a register that is not known: no address of it can be read.
const UNKNOWN: u64 = 1;

/// An address in a stack, and the module in which it lies.
#[derive(Clone, Copy)]
pub(super) struct RawFrame {
    /// In the file: what symbols are looked up by.
    pub address: u64,
    /// Position in [`Native::modules`].
    pub module: usize,
}

/// The modules of a process and the unwinder that knows them.
pub(super) struct Native {
    pub modules: Vec<Module>,
    mappings: Vec<Mapping>,
    unwinder: UnwinderNative<Vec<u8>, framehop::MayAllocateDuringUnwind>,
}

impl Native {
    /// `None` when the process's mappings cannot be read.
    pub(super) fn of(dir: &ProcDir, tgid: u32) -> Option<Self> {
        let mut buffer = Vec::new();
        let mappings: Vec<Mapping> = maps::parse(dir.read("maps", &mut buffer).ok()?).collect();
        let code = mappings.iter().filter(|mapping| mapping.executable);
        let modules: Vec<Module> = code.filter_map(|mapping| Module::open(tgid, mapping)).collect();
        let mut unwinder = UnwinderNative::new();
        for module in &modules {
            unwinder.add_module(unwind_module(module));
        }
        Some(Self { modules, mappings, unwinder })
    }

    /// The frames of a thread that sleeps, innermost first, as far as they can be unwound.
    pub(super) fn unwind(&self, memory: &Memory<'_>, asleep: &Asleep) -> Vec<RawFrame> {
        let Some(stack) = self.stack(memory, asleep.stack) else { return Vec::new() };
        let word = |at: u64| {
            let at = usize::try_from(at.checked_sub(asleep.stack)?).ok()?;
            Some(u64::from_ne_bytes(stack.get(at..at.checked_add(8)?)?.try_into().ok()?))
        };
        let mut cache = CacheNative::new();
        let mut registers = registers(asleep);
        let mut address = FrameAddress::from_instruction_pointer(asleep.code);
        let mut frames = Vec::new();
        while frames.len() < MOST_FRAMES {
            let Some(frame) = self.frame(address.address_for_lookup()) else { break };
            frames.push(frame);
            let mut read = |at: u64| word(at).ok_or(());
            let before = registers;
            let mut next = self.unwinder.unwind_frame(address, &mut registers, &mut cache, &mut read);
            if next.is_err() && is_unknown(&before) {
                registers = before;
                let mut anywhere = |at: u64| word(at).or_else(|| memory.u64(at));
                let module = &self.modules[frame.module];
                let code = address.address_for_lookup();
                let Some(found) =
                    call_site::frame_pointer(module, code, stack_pointer(&before), &mut anywhere)
                else {
                    break;
                };
                set_frame_pointer(&mut registers, found);
                next = self.unwinder.unwind_frame(address, &mut registers, &mut cache, &mut read);
            }
            let Ok(Some(code)) = next else { break };
            let Some(code) = FrameAddress::from_return_address(code) else { break };
            address = code;
        }
        frames
    }

    fn frame(&self, code: u64) -> Option<RawFrame> {
        let module = self.modules.iter().position(|module| module.code.contains(&code))?;
        Some(RawFrame { address: code.wrapping_sub(self.modules[module].bias), module })
    }

    /// The stack from a stack pointer on, up to the end of its mapping.
    fn stack(&self, memory: &Memory<'_>, from: u64) -> Option<Vec<u8>> {
        let mapping = self.mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&from))?;
        let length = (mapping.end - from).min(MOST_STACK);
        memory.bytes(from, usize::try_from(length).ok()?)
    }

    /// The frames without symbols: module and address.
    pub(super) fn unnamed(&self, frames: &[RawFrame]) -> Vec<StackFrame> {
        let frame = |frame: &RawFrame| StackFrame {
            module: Some(self.modules[frame.module].name.clone()),
            address: Some(frame.address),
            kind: FrameKind::Native,
            ..StackFrame::default()
        };
        frames.iter().map(frame).collect()
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(asleep: &Asleep) -> UnwindRegsNative {
    UnwindRegsNative::new(asleep.code, asleep.stack, UNKNOWN)
}

#[cfg(target_arch = "aarch64")]
fn registers(asleep: &Asleep) -> UnwindRegsNative {
    UnwindRegsNative::new(UNKNOWN, asleep.stack, UNKNOWN)
}

fn stack_pointer(registers: &UnwindRegsNative) -> u64 {
    registers.sp()
}

/// The frame pointer is not known, and the stack may show it.
#[cfg(target_arch = "x86_64")]
fn is_unknown(registers: &UnwindRegsNative) -> bool {
    registers.bp() == UNKNOWN
}

#[cfg(target_arch = "x86_64")]
fn set_frame_pointer(registers: &mut UnwindRegsNative, value: u64) {
    registers.set_bp(value);
}

#[cfg(target_arch = "aarch64")]
fn is_unknown(_: &UnwindRegsNative) -> bool {
    false
}

#[cfg(target_arch = "aarch64")]
fn set_frame_pointer(registers: &mut UnwindRegsNative, value: u64) {
    registers.set_fp(value);
}

fn unwind_module(module: &Module) -> framehop::Module<Vec<u8>> {
    let section = |section: &Option<super::elf::Section>| section.clone();
    let (frame, header) = (section(&module.eh_frame), section(&module.eh_frame_hdr));
    let info = ExplicitModuleSectionInfo {
        base_svma: 0,
        eh_frame_svma: frame.as_ref().map(|section| section.addresses.clone()),
        eh_frame: frame.map(|section| section.bytes),
        eh_frame_hdr_svma: header.as_ref().map(|section| section.addresses.clone()),
        eh_frame_hdr: header.map(|section| section.bytes),
        debug_frame: module.debug_frame.clone(),
        ..ExplicitModuleSectionInfo::default()
    };
    framehop::Module::new(module.name.printable(), module.code.clone(), module.bias, info)
}

/// Names frames: functions, files and lines, the inlined ones too.
pub(super) struct Symbols(blazesym::symbolize::Symbolizer);

impl Symbols {
    pub(super) fn new() -> Self {
        Self(blazesym::symbolize::Symbolizer::new())
    }

    /// The frames of a stack, named as far as their modules have symbols.
    pub(super) fn named(&self, native: &Native, frames: &[RawFrame]) -> Vec<StackFrame> {
        use blazesym::symbolize::{
            Input,
            source::{Elf, Source},
        };
        let mut addresses: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for frame in frames {
            addresses.entry(frame.module).or_default().push(frame.address);
        }
        let mut named: BTreeMap<(usize, u64), Vec<StackFrame>> = BTreeMap::new();
        for (at, addresses) in addresses {
            let module = &native.modules[at];
            let source = Source::Elf(Elf::new(&module.path));
            let Ok(found) = self.0.symbolize(&source, Input::VirtOffset(&addresses)) else { continue };
            for (address, symbol) in addresses.iter().zip(&found) {
                if let Some(symbol) = symbol.as_sym() {
                    named.insert((at, *address), functions(symbol, &module.name, *address));
                }
            }
        }
        let mut out = Vec::new();
        for (frame, unnamed) in frames.iter().zip(native.unnamed(frames)) {
            match named.get(&(frame.module, frame.address)) {
                Some(functions) => out.extend(functions.iter().cloned()),
                None => out.push(unnamed),
            }
        }
        out
    }
}

/// The functions at one address, the innermost inlined one first.
fn functions(symbol: &blazesym::symbolize::Sym<'_>, module: &ByteString, address: u64) -> Vec<StackFrame> {
    use std::os::unix::ffi::OsStrExt as _;
    let frame = |name: &str, place: Option<&blazesym::symbolize::CodeInfo<'_>>| StackFrame {
        function: Some(ByteString::from(name)),
        file: place.map(|place| ByteString::from(place.to_path().as_os_str().as_bytes())),
        line: place.and_then(|place| place.line),
        module: Some(module.clone()),
        address: Some(address),
        kind: FrameKind::Native,
    };
    let inlined = symbol.inlined.iter().rev().map(|inlined| frame(&inlined.name, inlined.code_info.as_ref()));
    inlined.chain([frame(&symbol.name, symbol.code_info.as_deref())]).collect()
}
