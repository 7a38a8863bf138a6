//! The kernel programs, one file per group. Maps, the emission of records and reads of kernel memory have a
//! file each.

mod emit;
mod file;
mod inspect;
mod lifecycle;
mod maps;
mod nothing;
mod read;
mod stall;
mod types;
mod window;

/// The kernel lets only GPL-compatible programs read its memory.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Unreachable: the verifier refuses a program that could get here.
    loop {}
}
