//! One database after the other, several at a time.

mod config;
mod control;
mod crash;
mod cut;
mod hand_over;
mod lifecycle;
mod recovery;
mod rolling;
mod scale;
mod standalone;
mod storage;
mod valkey;
