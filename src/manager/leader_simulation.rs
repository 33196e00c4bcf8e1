//! A simulation of the election: candidates with clocks of their own, and one Lease behind a network that loses and delays.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]

use std::{cmp::Reverse, collections::BinaryHeap};

use proptest::prelude::*;

use super::{
    tests::{TIMING, record},
    *,
};

/// Milliseconds of real time, which nobody in the simulation can see.
type Real = u64;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Candidate `who` acts (in its life number `life`).
    Act { who: usize, life: u32 },
    /// The API server gets call `number` of `who`.
    Arrives {
        who: usize,
        life: u32,
        number: u32,
        call: Call,
    },
    /// The answer comes back.
    Answer {
        who: usize,
        life: u32,
        number: u32,
        answer: Answer,
    },
    /// The call's time is over.
    GiveUp { who: usize, life: u32, number: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Read,
    /// A write with the resourceVersion it is conditioned on; none for a creation.
    Write(Option<u64>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Lease(Option<(String, u64)>),
    Written(u64),
    Refused,
}

struct Process {
    candidate: Candidate,
    life: u32,
    /// Local time is `offset + real * rate`.
    rate: f64,
    offset: f64,
    call: u32,
    sent: Duration,
    waiting: bool,
    /// Stopped by a signal until then: nothing of it runs.
    stopped_until: Real,
}

impl Process {
    fn now(&self, real: Real) -> Duration {
        Duration::from_secs_f64((self.offset + real as f64 / 1000.0 * self.rate).max(0.0))
    }

    fn leads(&self, real: Real) -> bool {
        self.candidate
            .leads_until()
            .is_some_and(|until| self.now(real) < until)
    }
}

#[derive(Debug, Clone)]
struct Plan {
    rates: Vec<f64>,
    offsets: Vec<f64>,
    /// Chance of a message to be lost.
    loss: f64,
    /// Longest delay of a message, in milliseconds.
    delay: u64,
    /// Chance of an acting process to be stopped, and of the Lease to be edited by somebody.
    stop: f64,
    edit: f64,
    renew_ratio: f64,
    seed: u64,
}

struct World {
    plan: Plan,
    timing: Timing,
    random: u64,
    real: Real,
    queue: BinaryHeap<Reverse<(Real, u64, Event)>>,
    order: u64,
    processes: Vec<Process>,
    lease: Option<(String, u64)>,
    version: u64,
    handovers: usize,
}

/// The faults end here, and the simulation a while later.
const FAULTS_END: Real = 300_000;
const END: Real = 400_000;

impl World {
    fn new(plan: Plan) -> Self {
        let timing = Timing {
            renew_deadline: TIMING.duration.mul_f64(plan.renew_ratio),
            ..TIMING
        };
        let process = |who: usize| Process {
            candidate: Candidate::new(format!("{who}.0"), timing),
            life: 0,
            rate: plan.rates[who],
            offset: plan.offsets[who],
            call: 0,
            sent: Duration::ZERO,
            waiting: false,
            stopped_until: 0,
        };
        let processes = (0..plan.rates.len()).map(process).collect();
        let random = plan.seed;
        let mut world = Self {
            plan,
            timing,
            random,
            real: 0,
            queue: BinaryHeap::new(),
            order: 0,
            processes,
            lease: None,
            version: 0,
            handovers: 0,
        };
        for who in 0..world.processes.len() {
            world.at(0, Event::Act { who, life: 0 });
        }
        world
    }

    /// splitmix64
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.real < FAULTS_END && self.draw() < chance
    }

    fn at(&mut self, delay: Real, event: Event) {
        self.order += 1;
        self.queue
            .push(Reverse((self.real + delay, self.order, event)));
    }

    /// A message on its way: lost, or late.
    fn send(&mut self, event: Event) {
        if self.chance(self.plan.loss) {
            return;
        }
        let longest = if self.real < FAULTS_END {
            self.plan.delay
        } else {
            20
        };
        // Most messages are quick, some very slow.
        let delay = (self.draw().powi(4) * longest as f64) as u64 + 1;
        self.at(delay, event);
    }

    fn run(&mut self) {
        while let Some(Reverse((real, _, event))) = self.queue.pop() {
            if real > END {
                return;
            }
            self.real = real;
            self.handle(event);
            let leaders: Vec<_> = (0..self.processes.len())
                .filter(|who| self.processes[*who].leads(self.real))
                .collect();
            assert!(
                leaders.len() < 2,
                "{leaders:?} lead at {} ms of {:?}",
                self.real,
                self.plan
            );
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrives {
                who,
                life,
                number,
                call,
            } => {
                let answer = self.serve(&call, &format!("{who}.{life}"));
                self.send(Event::Answer {
                    who,
                    life,
                    number,
                    answer,
                });
            }
            Event::Act { who, life }
            | Event::Answer { who, life, .. }
            | Event::GiveUp { who, life, .. } => {
                if life != self.processes[who].life {
                    return;
                }
                let stopped_until = self.processes[who].stopped_until;
                if self.real < stopped_until {
                    self.at(stopped_until - self.real, event);
                    return;
                }
                self.deliver(who, event);
            }
        }
    }

    fn serve(&mut self, call: &Call, identity: &str) -> Answer {
        if self.chance(self.plan.edit) {
            // Somebody annotates the Lease.
            self.version += 1;
            let version = self.version;
            if let Some((_, current)) = &mut self.lease {
                *current = version;
            }
        }
        match call {
            Call::Read => Answer::Lease(self.lease.clone()),
            Call::Write(expected) if *expected == self.lease.as_ref().map(|lease| lease.1) => {
                self.version += 1;
                self.lease = Some((identity.to_owned(), self.version));
                Answer::Written(self.version)
            }
            Call::Write(_) => Answer::Refused,
        }
    }

    fn deliver(&mut self, who: usize, event: Event) {
        let real = self.real;
        let process = &mut self.processes[who];
        let now = process.now(real);
        match event {
            Event::Answer { number, answer, .. } if process.waiting && number == process.call => {
                process.waiting = false;
                let lease =
                    |(holder, version): (String, u64)| record(&holder, &version.to_string());
                match answer {
                    Answer::Lease(found) => process.candidate.read(now, found.map(lease)),
                    Answer::Written(version) => {
                        let led = process.candidate.leads_until().is_some();
                        let holder = format!("{who}.{}", process.life);
                        process
                            .candidate
                            .written(process.sent, now, lease((holder, version)));
                        self.handovers += usize::from(
                            !led && self.processes[who].candidate.leads_until().is_some(),
                        );
                    }
                    Answer::Refused => process.candidate.refused(now),
                }
            }
            Event::GiveUp { number, .. } if process.waiting && number == process.call => {
                process.waiting = false;
                process.candidate.failed(now);
            }
            Event::Act { .. } if !process.waiting => {}
            _ => return,
        }
        self.act(who);
    }

    fn act(&mut self, who: usize) {
        if self.chance(self.plan.stop) {
            let pause = (self.draw() * 40_000.0) as u64;
            self.processes[who].stopped_until = self.real + pause;
            let life = self.processes[who].life;
            self.at(pause, Event::Act { who, life });
            return;
        }
        let process = &mut self.processes[who];
        let life = process.life;
        let now = process.now(self.real);
        let call = match process.candidate.decide(now) {
            Step::Wait(wait) => {
                let real = (wait.as_secs_f64() / process.rate * 1000.0).ceil() as u64;
                self.at(real.max(1), Event::Act { who, life });
                return;
            }
            Step::Stop => {
                process.life += 1;
                process.candidate = Candidate::new(format!("{who}.{}", process.life), self.timing);
                process.waiting = false;
                let life = process.life;
                self.at(1_000, Event::Act { who, life });
                return;
            }
            Step::Read => Call::Read,
            Step::Create => Call::Write(None),
            Step::Write { version } => Call::Write(version.parse().ok()),
        };
        process.call += 1;
        process.sent = now;
        process.waiting = true;
        let number = process.call;
        self.at(8_000, Event::GiveUp { who, life, number });
        self.send(Event::Arrives {
            who,
            life,
            number,
            call,
        });
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let candidates = prop::collection::vec((0.9f64..1.1, 0.0f64..1e6), 2..=5);
    (
        candidates,
        0.0f64..0.4,
        100u64..20_000,
        0.0f64..0.05,
        0.0f64..0.005,
        0.5f64..0.8,
        any::<u64>(),
    )
        .prop_map(
            |(clocks, loss, delay, stop, edit, renew_ratio, seed)| Plan {
                rates: clocks.iter().map(|clock| clock.0).collect(),
                offsets: clocks.iter().map(|clock| clock.1).collect(),
                loss,
                delay,
                stop,
                edit,
                renew_ratio,
                seed,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn never_two_leaders_and_one_in_the_end(plan in plans()) {
        let mut world = World::new(plan);
        world.run();
        let leaders = world.processes.iter().filter(|process| process.leads(END)).count();
        prop_assert_eq!(leaders, 1, "after {} hand-overs of {:?}", world.handovers, world.plan);
    }
}

#[test]
fn the_simulation_has_hand_overs() {
    let plan = |seed| Plan {
        rates: vec![0.9, 1.1, 1.0],
        offsets: vec![0.0, 1000.0, 5.0],
        loss: 0.3,
        delay: 10_000,
        stop: 0.05,
        edit: 0.02,
        renew_ratio: 0.66,
        seed,
    };
    let handovers = (0..20).map(|seed| {
        let mut world = World::new(plan(seed));
        world.run();
        world.handovers
    });
    assert!(
        handovers.sum::<usize>() > 60,
        "the faults must make leaders change, or the property says nothing"
    );
}
