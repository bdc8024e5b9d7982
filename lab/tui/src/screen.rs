//! Screens: what is put together from lanes and panes.

pub mod run;
