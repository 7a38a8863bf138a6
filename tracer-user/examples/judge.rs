use std::collections::HashMap;
use tracer_user::procfs_view::{self, Ask, ProcRoot, Request};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let ask = match args.iter().position(|a| a == "--pid") {
        Some(i) => Ask::Tree(args[i + 1].parse().unwrap()),
        None => Ask::All,
    };
    let request = Request { ask, quiet_window: std::time::Duration::from_millis(400) };
    let mut pipes = |_: &std::collections::HashSet<u64>| HashMap::new();
    let evidence = procfs_view::look(&ProcRoot::system(), &request, &mut pipes).unwrap();
    if args.iter().any(|a| a == "--evidence") {
        println!("{}", serde_json::to_string_pretty(&evidence).unwrap());
        return;
    }
    let d = tracer_user::core::diagnosis::diagnose(&evidence);
    println!("{}", serde_json::to_string_pretty(&d).unwrap());
}
