//! Hera itself: its pods come and go, it is upgraded, and it is quiet when nothing is to be done. One test at a time.

mod absence;
mod bootstrap;
mod commands;
mod leadership;
mod many;
mod rest;
