// SPDX-License-Identifier: GPL-2.0
//! What is written of encrypted files.

use super::PAGE;
use crate::lab::Lab;
use crate::race::{Race, Res, RACE};
use crate::tracing::step;
use crate::{broken, harm};
use guest::harness::Variant;
use guest::sys::{self, Aligned};

pub static PLAIN_ON_DISK: Race = Race {
    row: "18",
    name: "plain-on-disk",
    title: "An encrypted file is written back by who knows nothing of keys",
    story: "iomap makes the bios of buffered I/O, and gives them no key. What is in the page cache of an \
            encrypted file gets to the disk as it is.",
    off: &["encrypt"],
    var: Variant {
        name: "4k",
        bs: PAGE,
        feats: "encrypt",
    },
    needs: || match sys::exists("/sys/module/blk_crypto") {
        true => Ok(()),
        false => Err("this kernel does not encrypt (CONFIG_FS_ENCRYPTION)".into()),
    },
    mount: "test_dummy_encryption",
    run: plain_on_disk,
    ..RACE
};

fn plain_on_disk(lab: &mut Lab) -> Res {
    let f = lab.file_not_synced("f", &[b'A'; PAGE])?;
    let about = sys::statx(&f.name)?.stx_attributes;
    if about & libc::STATX_ATTR_ENCRYPTED as u64 == 0 {
        broken!("f is not encrypted");
    }
    lab.given("f: encrypted, block 0 in the page cache only: 'A'", &[&f])?;

    let writer = lab.thread("writer", "fsync", {
        let f = f.clone();
        move || f.fsync()
    })?;
    writer.join()??;

    lab.play("thief");
    let place = lab.place(&f, 0)?;
    step(&format!("reads the disk at {place}"));
    let disk = sys::open(&lab.t.dev, libc::O_RDONLY | libc::O_DIRECT, 0)?;
    let mut block = Aligned::new(PAGE);
    disk.pread(&mut block, place)?;
    if block.iter().filter(|b| **b == b'A').count() > PAGE / 2 {
        harm!("the disk shows what the file has: 'A'");
    }
    lab.good("nothing that the file has");

    lab.play("writer");
    step("the page is evicted");
    lab.evict(&f)?;
    lab.reads(&f, 0, &[b'A'; PAGE], "decrypted")
}
