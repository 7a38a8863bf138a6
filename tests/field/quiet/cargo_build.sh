# cargo build and test of a crate
# needs: cargo
mkdir src; printf '[package]\nname = "q"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n' >Cargo.toml
echo '#[test] fn slow() { std::thread::sleep(std::time::Duration::from_secs(@REST@)); }' >src/lib.rs
CARGO_TARGET_DIR=$PWD/t cargo test -q --offline >/dev/null 2>&1
