//! One database after the other, many at a time.

mod crash;
mod cut;
mod hand_over;
mod lifecycle;
