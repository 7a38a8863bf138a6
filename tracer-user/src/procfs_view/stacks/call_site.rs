//! The frame pointer of a function whose registers cannot be read, from the stack alone (x86-64).
//!
//! `/proc` shows the stack pointer and the program counter of a thread that sleeps, and no other register.
//! A function that addresses its frame by `rbp` can then be unwound only if its frame is found on the
//! stack: the saved `rbp` of its caller, and above it the address to return to. Many words of a stack look
//! like a return address, and most are stale. So one counts only if the instruction in front of it calls
//! the very function whose frame is sought, and if all other words for which that holds are the same
//! function's frames further out. Otherwise the stack ends here: it may be short, but not wrong.

use super::elf::Module;

/// Bytes of the stack that are searched: no usual frame is larger.
const WINDOW: u64 = 64 << 10;

/// Finds the value of `rbp` in the function that is at `code`, with its stack from `stack` on.
pub(super) fn frame_pointer(
    module: &Module,
    code: u64,
    stack: u64,
    read: &mut impl FnMut(u64) -> Option<u64>,
) -> Option<u64> {
    let function = module.function_start(code)?;
    let mut candidates = Vec::new();
    for at in (stack.next_multiple_of(8)..stack.saturating_add(WINDOW)).step_by(8) {
        let Some(address) = read(at + 8) else { break };
        if call_target(address, read) == Some(function) {
            candidates.push(at);
        }
    }
    let (first, others) = candidates.split_first()?;
    let mut chain = vec![*first];
    while let Some(next) = read(*chain.last()?).filter(|next| Some(next) > chain.last() && chain.len() < 4096)
    {
        chain.push(next);
    }
    others.iter().all(|other| chain.contains(other)).then_some(*first)
}

/// The function that the instruction in front of a return address calls. `None` when it is no call, or one
/// through a register.
fn call_target(address: u64, read: &mut impl FnMut(u64) -> Option<u64>) -> Option<u64> {
    // The eight bytes that end with the instruction.
    let before = read(address.checked_sub(8)?)?.to_le_bytes();
    let offset = i64::from(i32::from_le_bytes([before[4], before[5], before[6], before[7]]));
    let there = address.wrapping_add_signed(offset);
    if before[3] == 0xe8 {
        return Some(behind_stub(there, read).unwrap_or(there));
    }
    // call *offset(%rip)
    if before[2..4] == [0xff, 0x15] { read(there) } else { None }
}

/// Where a stub of the procedure linkage table jumps to. `None` for other code.
fn behind_stub(address: u64, read: &mut impl FnMut(u64) -> Option<u64>) -> Option<u64> {
    let mut at = address;
    let mut bytes = read(at)?.to_le_bytes();
    // endbr64
    if bytes[..4] == [0xf3, 0x0f, 0x1e, 0xfa] {
        at += 4;
        bytes = read(at)?.to_le_bytes();
    }
    // bnd
    if bytes[0] == 0xf2 {
        at += 1;
        bytes = read(at)?.to_le_bytes();
    }
    // jmp *offset(%rip)
    if bytes[..2] != [0xff, 0x25] {
        return None;
    }
    let offset = i64::from(i32::from_le_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]));
    read((at + 6).wrapping_add_signed(offset))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::procfs_view::stacks::elf::Section;

    /// Memory by byte, and a module with one function at 0x1000.
    #[derive(Default)]
    struct Bytes(BTreeMap<u64, u8>);

    impl Bytes {
        fn put(&mut self, at: u64, bytes: &[u8]) {
            self.0.extend((at..).zip(bytes.iter().copied()));
        }

        fn read(&self, at: u64) -> Option<u64> {
            let mut word = [0; 8];
            for (nth, byte) in word.iter_mut().enumerate() {
                *byte = *self.0.get(&(at + nth as u64))?;
            }
            Some(u64::from_le_bytes(word))
        }
    }

    fn module() -> Module {
        let mut table = vec![1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0, 2, 0, 0, 0];
        for start in [0x1000_i32, 0x2000] {
            table.extend((start - 0x100).to_le_bytes());
            table.extend([0; 4]);
        }
        Module {
            code: 0x1000..0x9000,
            bias: 0,
            name: "a".into(),
            path: "a".into(),
            eh_frame: None,
            eh_frame_hdr: Some(Section { addresses: 0x100..0x11c, bytes: table }),
            debug_frame: None,
        }
    }

    /// A stack of zeros from 0x70000 on, and at 0x3000 the end of a direct call of 0x1000, at 0x3100 of one
    /// of 0x2000.
    fn memory() -> Bytes {
        let mut memory = Bytes::default();
        memory.put(0x70000, &[0; 0x400]);
        memory.put(0x2f00, &[0; 0x300]);
        for (end, target) in [(0x3000_u64, 0x1000_u64), (0x3100, 0x2000)] {
            memory.put(end - 5, &[0xe8]);
            memory.put(end - 4, &(target.wrapping_sub(end) as u32).to_le_bytes());
        }
        memory
    }

    fn find(memory: &Bytes) -> Option<u64> {
        frame_pointer(&module(), 0x1040, 0x70000, &mut |at| memory.read(at))
    }

    #[test]
    fn functions_begin_where_the_table_says() {
        assert_eq!(module().function_start(0x1fff), Some(0x1000));
        assert_eq!(module().function_start(0x2000), Some(0x2000));
        assert_eq!(module().function_start(0xfff), None);
    }

    #[test]
    fn the_frame_is_below_the_return_address_of_a_call_of_the_function() {
        let mut memory = memory();
        memory.put(0x70040, &0x3100_u64.to_le_bytes());
        memory.put(0x70080, &0x3000_u64.to_le_bytes());
        assert_eq!(find(&memory), Some(0x70078));
    }

    #[test]
    fn no_call_of_the_function_is_no_frame() {
        let mut memory = memory();
        memory.put(0x70040, &0x3100_u64.to_le_bytes());
        assert_eq!(find(&memory), None);
    }

    #[test]
    fn two_frames_that_are_not_linked_are_ambiguous_and_two_of_a_recursion_are_not() {
        let mut memory = memory();
        for at in [0x70040_u64, 0x70080] {
            memory.put(at, &0x3000_u64.to_le_bytes());
        }
        assert_eq!(find(&memory), None);
        memory.put(0x70038, &0x70078_u64.to_le_bytes());
        assert_eq!(find(&memory), Some(0x70038));
    }

    #[test]
    fn a_call_through_the_linkage_table_is_followed() {
        let mut memory = memory();
        // 0x3000: the call goes to a stub at 0x3010, which jumps to what 0x3080 holds.
        memory.put(0x2ffc, &0x10_u32.to_le_bytes());
        memory.put(0x3010, &[0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25]);
        memory.put(0x3016, &(0x3080_u32 - 0x301a).to_le_bytes());
        memory.put(0x3080, &0x1000_u64.to_le_bytes());
        memory.put(0x70080, &0x3000_u64.to_le_bytes());
        assert_eq!(find(&memory), Some(0x70078));
    }
}
