//! A static that holds every struct of the wire. The compiler describes in the object's type information
//! (BTF) what statics hold, and no map says what it holds: without this static the object would describe no
//! record. A test compares the description with the structs that the user side was compiled with.

use tracer_ebpf::wire::AllStructs;

/// Never read. In the section of read-only data, since no map is made of a section with another name.
#[unsafe(no_mangle)]
#[unsafe(link_section = "wire")]
pub static WIRE_STRUCTS: AllStructs = zerocopy::transmute!([0u8; size_of::<AllStructs>()]);
