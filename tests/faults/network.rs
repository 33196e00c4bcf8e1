//! Connections to the simulated servers.

use std::io;
use std::time::Duration;

use futures::future::pending;
use hera::engines::network::{Connection as Stream, Network};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::CancellationToken;

use crate::fault::Fate;
use crate::redis::commands::{self, Caller};
use crate::redis::resp::{self, Reply};
use crate::redis::sentinel;
use crate::redis::server::Connection;
use crate::redis::writes;
use crate::world::{Shared, World};

/// How long an exchange takes.
const LATENCY: Duration = Duration::from_millis(1);
const SENTINEL_PORT: u16 = 26379;
/// How often a server that stands still is looked at.
const STILL: Duration = Duration::from_millis(100);

/// The network of the process with this number.
pub fn network(world: &Shared, process: u32) -> Network {
    let world = world.clone();
    Network::of(move |host, port| {
        let (world, host) = (world.clone(), host.to_owned());
        Box::pin(async move {
            tokio::time::sleep(LATENCY).await;
            let stream = open(&world, process, &host, port)?;
            match stream {
                Some(stream) => Ok(Box::new(stream) as Box<dyn Stream>),
                // Nobody has this address: no answer ever comes.
                None => pending().await,
            }
        })
    })
}

fn open(shared: &Shared, process: u32, host: &str, port: u16) -> io::Result<Option<DuplexStream>> {
    let mut world = shared.lock();
    if world.faults.is_dead(process) {
        return Ok(None);
    }
    world.connections += 1;
    let id = world.connections;
    let has_address = world.kubelet.has_address(host);
    let Some((pod, connections)) = world.listening(host, port) else {
        return if has_address {
            Err(io::ErrorKind::ConnectionRefused.into())
        } else {
            Ok(None)
        };
    };
    let closed = CancellationToken::new();
    connections.push(Connection {
        id,
        user: String::new(),
        closed: closed.clone(),
    });
    let pod = pod.to_owned();
    let (near, far) = tokio::io::duplex(1 << 16);
    let session = Session {
        world: shared.clone(),
        process,
        ip: host.to_owned(),
        port,
        pod,
        caller: Caller {
            id,
            user: String::new(),
        },
    };
    tokio::spawn(async move {
        tokio::select! {
            () = closed.cancelled() => {}
            _ = session.serve(far) => {}
        }
    });
    Ok(Some(near))
}

struct Session {
    world: Shared,
    process: u32,
    ip: String,
    port: u16,
    pod: String,
    caller: Caller,
}

impl Session {
    /// Answers commands until the connection ends.
    async fn serve(mut self, mut stream: DuplexStream) -> io::Result<()> {
        let mut buffer = Vec::new();
        while stream.read_buf(&mut buffer).await? > 0 {
            tokio::time::sleep(LATENCY).await;
            let mut out = Vec::new();
            while let Some(words) = resp::command(&mut buffer) {
                self.awake().await;
                match self.answer(&words) {
                    Answer::Reply(reply) => reply.encode(&mut out),
                    Answer::Closed => {
                        self.forget();
                        return Ok(());
                    }
                    Answer::Never => return pending().await,
                }
            }
            stream.write_all(&out).await?;
        }
        self.forget();
        Ok(())
    }

    fn forget(&self) {
        let mut world = self.world.lock();
        if let Some((_, connections)) = world.listening(&self.ip, self.port) {
            connections.retain(|c| c.id != self.caller.id);
        }
    }

    /// Returns when the server does not stand still.
    async fn awake(&self) {
        loop {
            let still = {
                let world = self.world.lock();
                world.servers.get(&self.ip).is_some_and(|s| s.frozen)
            };
            if !still {
                return;
            }
            tokio::time::sleep(STILL).await;
        }
    }

    fn answer(&mut self, words: &[String]) -> Answer {
        let shared = self.world.clone();
        let mut world = shared.lock();
        if world.faults.is_dead(self.process) {
            return Answer::Never;
        }
        let mut fate = Fate::Done;
        if writes::changes(words) {
            fate = world.write(format!("{} {}", self.pod, writes::shown(words)));
        }
        match fate {
            Fate::NotSent => return Answer::Never,
            Fate::Reset | Fate::Refused(500) => return Answer::Closed,
            Fate::Refused(429) => {
                return Answer::Reply(Reply::error("BUSY Redis is busy running a script."));
            }
            Fate::Refused(_) => {
                return Answer::Reply(Reply::error("LOADING Redis is loading the dataset"));
            }
            _ => {}
        }
        let reply = self.run(&mut world, words);
        match fate {
            Fate::Unseen | Fate::Silent => Answer::Never,
            Fate::Lost => Answer::Closed,
            _ => Answer::Reply(reply),
        }
    }

    fn run(&mut self, world: &mut World, words: &[String]) -> Reply {
        let now = world.now();
        if self.port == SENTINEL_PORT {
            let chance = &mut world.random;
            return match world.sentinels.get_mut(&self.ip) {
                Some(own) => sentinel::commands::run(own, &mut self.caller, words, now, chance),
                None => Reply::error("ERR the sentinel is gone"),
            };
        }
        commands::run(&mut world.servers, &self.ip, &mut self.caller, words, now)
    }
}

enum Answer {
    Reply(Reply),
    Closed,
    Never,
}

impl World {
    /// The pod that listens there, and its connections.
    fn listening(&mut self, host: &str, port: u16) -> Option<(&str, &mut Vec<Connection>)> {
        if port == SENTINEL_PORT {
            let found = self.sentinels.get_mut(host)?;
            return Some((&found.pod, &mut found.connections));
        }
        let found = self.servers.get_mut(host).filter(|_| port == 6379)?;
        Some((&found.pod, &mut found.connections))
    }
}
