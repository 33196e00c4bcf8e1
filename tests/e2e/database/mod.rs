//! One database after the other, several at a time.

mod cluster;
mod config;
mod control;
mod crash;
mod cut;
mod hand_over;
mod hibernate;
mod lifecycle;
mod mode;
mod monitoring;
mod recovery;
mod rolling;
mod scale;
mod sentinel;
mod standalone;
mod storage;
mod tls;
mod update;
mod users;
mod valkey;
