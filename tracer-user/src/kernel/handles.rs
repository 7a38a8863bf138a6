//! Typed handles of the object's maps and programs, loaded or pinned.

use std::path::Path;

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya::programs::{Program, ProgramError, RawTracePoint};
use tracer_ebpf::names::ProgramName;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::error::KernelError;

/// A struct of the wire, as a key or value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct MapValue<T>(pub T);

// SAFETY: the bound is what `Pod` asks for, proved by the derives of `zerocopy`: the type has no padding, so
// that its bytes can be handed to the kernel, and any bytes that the kernel hands back are a value of it.
unsafe impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> aya::Pod for MapValue<T> {}

/// A map that is pinned in `directory`, for reading it in place.
pub fn pinned_map_data(directory: &Path, name: &str) -> Result<MapData, KernelError> {
    MapData::from_pin(directory.join(name)).map_err(|error| KernelError::of(opening(name), error))
}

/// A map that is pinned in `directory`.
pub fn pinned_map<T, E>(directory: &Path, name: &str) -> Result<T, KernelError>
where
    T: TryFrom<Map, Error = E>,
    E: std::error::Error + 'static,
{
    let map = Map::from_map_data(pinned_map_data(directory, name)?);
    typed(map.map_err(|error| KernelError::of(opening(name), error))?, name)
}

/// A map of a loaded object, taken out of it.
pub fn loaded_map<T, E>(ebpf: &mut Ebpf, name: &str) -> Result<T, KernelError>
where
    T: TryFrom<Map, Error = E>,
    E: std::error::Error + 'static,
{
    typed(ebpf.take_map(name).ok_or_else(|| not_in_object(name))?, name)
}

fn typed<T, E>(map: Map, name: &str) -> Result<T, KernelError>
where
    T: TryFrom<Map, Error = E>,
    E: std::error::Error + 'static,
{
    map.try_into().map_err(|error| KernelError::of(opening(name), error))
}

fn opening(map: &str) -> String {
    format!("opening the map {map}")
}

/// A program of a loaded object, as what it is.
pub fn program<'a, T>(ebpf: &'a mut Ebpf, wanted: ProgramName) -> Result<&'a mut T, KernelError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(wanted.name).ok_or_else(|| not_in_object(wanted.name))?;
    program.try_into().map_err(|error| KernelError::of(format!("program {}", wanted.name), error))
}

/// A program that is pinned in `directory` and run on demand.
pub fn pinned_program(directory: &Path, wanted: ProgramName) -> Result<RawTracePoint, KernelError> {
    RawTracePoint::from_pin(directory.join(wanted.name))
        .map_err(|error| KernelError::of(format!("opening the program {}", wanted.name), error))
}

/// The object has no map or program of this name.
pub fn not_in_object(name: &str) -> KernelError {
    KernelError::Refused {
        what: format!("the embedded kernel programs have no {name}"),
        why: "object and loader are of different versions; rebuild with `cargo xtask build-ebpf`".to_owned(),
    }
}
