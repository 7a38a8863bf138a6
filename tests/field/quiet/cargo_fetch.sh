# cargo resolves a crate without dependencies
# needs: cargo
mkdir src; printf '[package]\nname = "q"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n' >Cargo.toml; echo >src/lib.rs
cargo fetch -q --offline; cargo metadata --offline --format-version 1 >/dev/null 2>&1; sleep 3
