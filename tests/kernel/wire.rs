//! The committed object and this build of the user side agree: every struct that the two share has the same
//! size and members in the object's type information (BTF) as in the library that decodes it, and programs
//! and maps have the names by which they are loaded.

use std::collections::BTreeSet;
use std::io::Write as _;

use btf::btf::{Btf, FlattenedType, Type};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use tracer_ebpf::names::{self, Hook};
use tracer_ebpf::offsets::{FIELDS, Offsets};
use tracer_ebpf::wire::{self, StructLayout};

const OBJECT: &[u8] = include_bytes!("../../tracer-ebpf/object/tracer.bpf.o");

/// A struct's name, its size, and its members as (name, offset, size).
type Described = (String, usize, Vec<(String, usize, usize)>);

fn types_of_the_object() -> Btf {
    let object = object::File::parse(OBJECT).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(object.section_by_name(".BTF").unwrap().data().unwrap()).unwrap();
    Btf::from_file(file.path()).unwrap()
}

fn of_the_object(btf: &Btf, name: &str) -> Described {
    let is_it = |found: &&FlattenedType| {
        found.name.as_deref() == Some(name) && matches!(found.base_type, Type::Struct(_))
    };
    let mut all = btf.get_types().iter().filter(is_it);
    let found = all.next().unwrap_or_else(|| panic!("the object does not describe {name}"));
    assert_eq!(all.count(), 0, "two structs are called {name}");
    let Type::Struct(members) = &found.base_type else { unreachable!("filtered") };
    let members = members.members.iter().map(|member| {
        let bits = btf.get_type_by_id(member.type_id).unwrap().bits;
        (member.name.clone().unwrap(), member.offset as usize / 8, bits as usize / 8)
    });
    (name.to_owned(), found.bits as usize / 8, members.collect())
}

fn of_the_library(layout: &StructLayout) -> Described {
    let members = layout.members.iter().map(|member| (member.name.to_owned(), member.offset, member.size));
    (layout.name.to_owned(), layout.size, members.collect())
}

#[test]
fn the_object_has_each_struct_as_the_library_has_it() {
    let btf = types_of_the_object();
    for layout in wire::LAYOUTS {
        assert_eq!(of_the_object(&btf, layout.name), of_the_library(layout));
    }
    let offsets = FIELDS.iter().enumerate().map(|(index, field)| (field.name.to_owned(), 4 * index, 4));
    let expected = ("Offsets".to_owned(), size_of::<Offsets>(), offsets.collect());
    assert_eq!(of_the_object(&btf, "Offsets"), expected);
}

#[test]
fn every_struct_that_a_map_holds_is_in_the_list() {
    let btf = types_of_the_object();
    let listed: Vec<&str> = wire::LAYOUTS.iter().map(|layout| layout.name).collect();
    let mut found = 0;
    // A map is described by the name of its type, in which the compiler has written `::` as `_3A__3A_`.
    for name in btf.get_types().iter().filter_map(|found| found.name.as_deref()) {
        for held in name.split("tracer_ebpf_3A__3A_wire_3A__3A_").skip(1) {
            // The linker cuts long names short.
            let Some(end) = ["_3E_", "_2C_"].iter().filter_map(|end| held.find(end)).min() else { continue };
            let path = &held[..end];
            let held = path.rsplit("_3A__3A_").next().unwrap().trim_end_matches("_29_");
            assert!(listed.contains(&held), "{held} (in {name})");
            found += 1;
        }
    }
    assert!(found >= 10, "the type information names what maps hold");
}

/// The names of the symbols in the sections that `wanted` picks by name, as (section, symbol).
fn symbols(wanted: impl Fn(&str) -> bool) -> BTreeSet<(String, String)> {
    let object = object::File::parse(OBJECT).unwrap();
    let in_sections = object.symbols().filter(|symbol| symbol.is_global()).filter_map(|symbol| {
        let section = object.section_by_index(symbol.section_index()?).unwrap();
        let section = section.name().unwrap();
        wanted(section).then(|| (section.to_owned(), symbol.name().unwrap().to_owned()))
    });
    in_sections.collect()
}

#[test]
fn the_tables_of_names_are_those_of_the_object() {
    let programs = names::PROGRAMS.iter().map(|program| {
        let section = match program.hook {
            Hook::Tracepoint(name) => format!("tp_btf/{name}"),
            Hook::PerfEvent(name) => format!("tracepoint/{name}"),
            Hook::OnDemand => "raw_tp/sched_switch".to_owned(),
        };
        (section, program.name.to_owned())
    });
    assert_eq!(symbols(|section| section.contains('/')), programs.collect());
    let maps = names::SESSION_MAPS.iter().chain(&names::HOOK_MAPS);
    let maps = maps.chain(&names::WINDOW_MAPS).chain(&names::UNPINNED_MAPS);
    let maps = maps.map(|name| ("maps".to_owned(), (*name).to_owned()));
    assert_eq!(symbols(|section| section == "maps"), maps.collect());
    let globals = names::GLOBALS.map(|name| (".rodata".to_owned(), name.to_owned()));
    assert_eq!(symbols(|section| section == ".rodata"), globals.into());
}
