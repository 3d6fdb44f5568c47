//! Real redis-servers on free ports, for as long as a test holds them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Are tests with a real Redis asked for? They are wherever `MINIMALL_TEST_REDIS` is set; each starts servers
/// of its own beside that one, for it stops and kills them.
pub fn wanted(test: &str) -> bool {
    let wanted = std::env::var_os("MINIMALL_TEST_REDIS").is_some();
    if !wanted {
        eprintln!("SKIPPED {test}: set MINIMALL_TEST_REDIS to run it (it needs redis-server)");
    }
    wanted
}

pub struct RedisServer {
    child: Child,
    folder: PathBuf,
    program: Vec<String>,
    pub port: u16,
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn fresh_folder() -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("minimall-redis-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

impl RedisServer {
    /// A server that keeps nothing.
    pub fn start() -> Self {
        Self::with(|_, _| vec![])
    }

    /// The same, with further options, which may depend on its folder and port.
    pub fn with(options: impl FnOnce(&Path, u16) -> Vec<String>) -> Self {
        let (port, folder) = (free_port(), fresh_folder());
        let mut program = words(&["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
        program.extend(words(&["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]));
        program.extend(words(&["--dir", &folder.display().to_string()]));
        program.extend(options(&folder, port));
        Self::run(program, port, folder)
    }

    /// One of the sentinels of the master "shop" at `master`, of which `quorum` have to agree.
    pub fn sentinel(master: u16, quorum: u8) -> Self {
        let (port, folder) = (free_port(), fresh_folder());
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor shop 127.0.0.1 {master} {quorum}\n\
             sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 3000\n",
            folder.display()
        );
        let file = folder.join("sentinel.conf");
        std::fs::write(&file, config).expect("a configuration");
        Self::run(words(&[&file.display().to_string(), "--sentinel"]), port, folder)
    }

    fn run(program: Vec<String>, port: u16, folder: PathBuf) -> Self {
        let child = spawn(&program);
        let mut server = Self { child, folder, program, port };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&mut self) {
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("a status") {
                panic!("redis-server ended with {status}: {}", self.program.join(" "));
            }
            sleep(Duration::from_millis(25));
        }
        panic!("redis-server does not listen on port {}", self.port);
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What a call of redis-cli answers.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let done = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().expect("redis-cli");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// Hangs: connections are taken by the kernel, and nobody answers.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill");
        assert!(done.success());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// On the same port as before, empty.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.program);
        self.wait_until_ready();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(program: &[String]) -> Child {
    Command::new("redis-server")
        .args(program)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server starts: Debian has it in the package redis-server")
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
