//! One database after the other, several at a time.
pub mod bootstrap;

mod adopt;
mod cluster;
mod config;
mod control;
mod crash;
mod cut;
mod external;
mod families;
mod hand_over;
mod hibernate;
mod lifecycle;
mod migration;
mod mode;
mod monitoring;
mod recovery;
mod rolling;
mod runbooks;
mod scale;
mod sentinel;
mod standalone;
mod storage;
mod surge;
mod tls;
mod update;
mod users;
mod valkey;
