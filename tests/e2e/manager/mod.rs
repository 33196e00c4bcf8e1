//! Hera itself: its pods come and go, and it is quiet when nothing is to be done. One test at a time.
