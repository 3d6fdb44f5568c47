//! The parts that can die, and how they come back.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::world::{Choices, World};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// One of the servers.
    Server(usize),
    Worker,
    Sandbox,
    /// A service beside us, by the name of its folder: mariadb, redis, namesrv, broker.
    Service(&'static str),
}

impl Part {
    pub fn is_server(&self) -> bool {
        matches!(self, Self::Server(_))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(number) => write!(f, "server {number}"),
            Self::Worker => f.write_str("worker"),
            Self::Sandbox => f.write_str("sandbox"),
            Self::Service(name) => f.write_str(name),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Blow {
    /// SIGKILL: nothing of the process gets to say goodbye.
    Kill,
    /// SIGSTOP, and SIGCONT after this time: it answers nobody, and its connections stay.
    Hang { for_ms: u64 },
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::Hang { for_ms } => write!(f, "hang for {for_ms} ms"),
        }
    }
}

/// Everything that runs for the shop.
pub struct Parts {
    all: Vec<Part>,
    /// Which of them are struck.
    victims: Vec<Part>,
    children: Mutex<HashMap<Part, Child>>,
    services: Option<PathBuf>,
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

impl Parts {
    /// `services` is the folder of `tests/services`, if the shop stands on real ones.
    pub fn new(services: Option<PathBuf>) -> Self {
        let mut all = vec![Part::Server(0), Part::Sandbox];
        let mut victims = vec![Part::Server(0)];
        if services.is_some() {
            all.extend([Part::Server(1), Part::Worker]);
            all.extend(["mariadb", "redis", "namesrv", "broker"].map(Part::Service));
            victims.clone_from(&all);
        }
        Self { all, victims, children: Mutex::default(), services }
    }

    /// Does the shop stand on real services?
    pub fn are_many(&self) -> bool {
        self.services.is_some()
    }

    /// Ours: what we start ourselves, the channel first.
    pub fn ours(&self) -> Vec<Part> {
        let mut ours: Vec<Part> =
            self.all.iter().filter(|part| !matches!(part, Part::Service(_))).cloned().collect();
        ours.sort_by_key(|part| *part != Part::Sandbox);
        ours
    }

    pub fn pick(&self, choices: &mut Choices) -> Part {
        self.victims[choices.next(self.victims.len() as u64) as usize].clone()
    }

    pub fn started(&self, part: Part, child: Child) {
        self.children.lock().expect("no panic").insert(part, child);
    }

    fn pid(&self, part: &Part) -> u32 {
        if let Part::Service(name) = part {
            let folder = self.services.as_ref().expect("real services").join(name);
            let pid = std::fs::read_to_string(folder.join("pid")).expect("its pid");
            return pid.trim().parse().expect("a number");
        }
        self.children.lock().expect("no panic")[part].id()
    }

    pub fn strike(&self, part: &Part, blow: Blow) {
        match blow {
            Blow::Kill => {
                signal(self.pid(part), "KILL");
                if let Some(mut child) = self.children.lock().expect("no panic").remove(part) {
                    child.wait().expect("ended");
                }
            }
            Blow::Hang { .. } => signal(self.pid(part), "STOP"),
        }
    }

    /// SIGTERM: the process says goodbye.
    pub fn ask_to_stop(&self, part: &Part) {
        signal(self.pid(part), "TERM");
    }

    /// How it ended that was asked to.
    pub async fn ended_well(&self, part: &Part) -> ExitStatus {
        let mut child = self.children.lock().expect("no panic").remove(part).expect("it ran");
        for _ in 0..12_000 {
            if let Some(status) = child.try_wait().expect("its status") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let _ = child.kill();
        panic!("{part} does not stop");
    }

    pub async fn bring_back(&self, world: &World, part: &Part, blow: Blow) {
        match (blow, part) {
            (Blow::Hang { for_ms }, _) => {
                tokio::time::sleep(Duration::from_millis(for_ms)).await;
                signal(self.pid(part), "CONT");
            }
            (Blow::Kill, Part::Service(name)) => {
                let start = self.services.as_ref().expect("real services").join(name).join("start");
                let started = tokio::task::spawn_blocking(move || {
                    Command::new(start).stdin(Stdio::null()).status().is_ok_and(|status| status.success())
                });
                assert!(started.await.expect("it ran"), "{name} does not start again");
            }
            (Blow::Kill, _) => {}
        }
        for part in self.ours() {
            let gone = !self.children.lock().expect("no panic").contains_key(&part);
            if gone {
                world.start_part(part).await;
            }
        }
    }

    /// Ends what we started.
    pub fn end(&self) {
        for (_, mut child) in self.children.lock().expect("no panic").drain() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A part of ours that ended by itself.
    pub fn ended(&self) -> Option<Part> {
        let mut children = self.children.lock().expect("no panic");
        let mut all = children.iter_mut();
        all.find_map(|(part, child)| child.try_wait().ok().flatten().map(|_| part.clone()))
    }
}
