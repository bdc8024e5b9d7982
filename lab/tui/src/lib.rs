//! A model in, cells out; keys in, actions out. The only user of the terminal libraries.
