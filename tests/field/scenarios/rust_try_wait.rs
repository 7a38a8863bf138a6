//! try_wait() ten times a second before the pipe is read: the tool blocks in its write. healthy: a thread
//! reads, the tool is quiet.
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

fn main() {
    let hang = std::env::args().nth(1).as_deref() == Some("hang");
    let script = if hang { "seq 200000" } else { "sleep 40; seq 200000" };
    let mut child = Command::new("bash").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let read = move || pipe.read_to_end(&mut Vec::new()).unwrap();
    let (reader, later) = if hang { (None, Some(read)) } else { (Some(std::thread::spawn(read)), None) };
    while child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{:?} {:?}", reader.map(|reader| reader.join().unwrap()), later.map(|mut read| read()));
}
