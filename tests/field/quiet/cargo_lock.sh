# one cargo waits for the lock of another
# needs: cargo
mkdir src; printf '[package]\nname = "q"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n' >Cargo.toml
echo 'fn main() { std::thread::sleep(std::time::Duration::from_secs(@REST@)); }' >build.rs; echo >src/lib.rs
export CARGO_TARGET_DIR=$PWD/t
cargo build -q --offline & sleep 0.3; cargo build -q --offline; wait
