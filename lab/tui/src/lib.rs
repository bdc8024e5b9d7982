//! The dashboard of `lab`: a model in, cells out; keys in, actions out. The only user of the terminal libraries. It reads a run through
//! [`timeline::History`] and touches no file, socket or environment itself.

pub mod app;
pub mod axis;
pub mod canvas;
pub mod columns;
pub mod dashboard;
pub mod frame;
pub mod home;
pub mod keys;
pub mod lane;
pub mod layout;
pub mod look;
pub mod outside;
pub mod pane;
pub mod scene;
pub mod screen;
pub mod terminal;
pub mod timeline;
pub mod view;
