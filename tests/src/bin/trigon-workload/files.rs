//! Deeds about open files.

use std::{fs::File, mem::forget};

use crate::{Args, become_deed, number};

/// Opens a file several times and exits with all of them open.
pub fn hold(mut args: Args) {
    let path = args.next().expect("a path");
    for _ in 0..number(&mut args) {
        forget(File::open(&path).expect("open the file"));
    }
}

/// Becomes another deed with a file open until then.
pub fn open_and(mut args: Args) -> ! {
    let path = args.next().expect("a path");
    forget(File::open(path).expect("open the file"));
    become_deed(args)
}
