//! The object file: removes its debug sections, and compares two of them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, SectionData};
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol, elf};

/// The object without its DWARF sections. The kernel and the loader read only BTF.
pub fn without_debug_sections(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut object = Builder::read(bytes).context("cannot read the linked object")?;
    for section in &mut object.sections {
        let name = section.name.to_string();
        if name.starts_with(".debug_") || name.starts_with(".rel.debug_") {
            section.delete = true;
        }
    }
    object.delete_orphans();
    object.delete_orphan_symbols();
    object.delete_orphan_relocations();
    // LLVM keeps section names in the string table of the symbols; the writer needs a separate table.
    if !object.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = object.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = elf::SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    object.set_section_sizes();
    let mut stripped = Vec::new();
    object.write(&mut stripped).context("cannot write the object without its debug sections")?;
    Ok(stripped)
}

/// The loader's view: section names with the names of their symbols, and the sizes of data. Code is not part
/// of it, because compilers generate different code.
pub fn interface(bytes: &[u8]) -> Result<BTreeSet<String>> {
    let file = ElfFile64::<Endianness>::parse(bytes).context("cannot read the object")?;
    let mut seen = BTreeSet::new();
    for symbol in file.symbols().filter(ObjectSymbol::is_global) {
        let Some(index) = symbol.section_index() else { continue };
        let section = file.section_by_index(index)?.name()?.to_string();
        // Programs have their own sections. Subprograms in `.text` are the compiler's choice.
        if section == ".text" {
            continue;
        }
        let size = if symbol.kind() == object::SymbolKind::Data { symbol.size() } else { 0 };
        seen.insert(format!("{section} {} {size}", symbol.name()?));
    }
    Ok(seen)
}

/// Names the sections in which two objects differ.
pub fn difference(one: &[u8], other: &[u8]) -> Result<String> {
    let sections = |bytes| -> Result<Vec<(String, Vec<u8>)>> {
        let file = ElfFile64::<Endianness>::parse(bytes).context("cannot read the object")?;
        file.sections().map(|section| Ok((section.name()?.to_string(), section.data()?.to_vec()))).collect()
    };
    let (one, other) = (sections(one)?, sections(other)?);
    let names: BTreeSet<&str> = one.iter().chain(&other).map(|(name, _)| name.as_str()).collect();
    let of = |all: &'_ [(String, Vec<u8>)], name: &str| {
        all.iter().find(|(is, _)| is == name).map(|(_, data)| data.clone())
    };
    let differ: Vec<&str> = names.into_iter().filter(|name| of(&one, name) != of(&other, name)).collect();
    Ok(if differ.is_empty() { "in headers only".into() } else { format!("in {}", differ.join(", ")) })
}

/// Names of the shared libraries that an executable needs.
pub fn needed_libraries(bytes: &[u8]) -> Result<Vec<String>> {
    let header = elf::FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let Some((entries, strings)) = sections.dynamic(endian, bytes)? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, bytes, strings)?;
    let needed = entries.iter().filter(|entry| entry.tag(endian) == elf::DT_NEEDED);
    needed.map(|entry| Ok(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned())).collect()
}
