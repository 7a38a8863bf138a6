//! Structs of the wire as keys and values of the kernel's maps.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A struct of the wire, as a key or value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct MapValue<T>(pub T);

// SAFETY: the bound is what `Pod` asks for, proved by the derives of `zerocopy`: the type has no padding, so that
// its bytes can be handed to the kernel, and any bytes that the kernel hands back are a value of it.
unsafe impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> aya::Pod for MapValue<T> {}
