// SPDX-License-Identifier: GPL-2.0
//! What people run: each program does its work, says itself whether that was right, and finds the
//! same once the file system was unmounted, also where the kernel's ext4 mounts it.

use crate::cases::power::crash::{cut, lights_on, start};
use crate::fixture::{knows_fs, run_cmd, MNT, T};
use crate::harness::{Case, Res, Variant, EXT3_1K, K4, ONE};
use crate::{ensure, same, skip};

pub const CASES: &[Case] = &[
    Case::new("programs/git", ONE, git).secs(240),
    Case::new("programs/sqlite", ONE, sqlite).secs(240),
    Case::new("programs/postgres", ONE, postgres).secs(400),
    Case::new("programs/postgres_crash", ONE, postgres_crash).secs(400),
    Case::new("programs/tar", TWO, tar).secs(240),
    Case::new("programs/rsync", ONE, rsync).secs(240),
    Case::new("programs/dpkg", ONE, dpkg).secs(240),
    Case::new("programs/fio", ONE, fio).secs(240),
    Case::new("programs/overlay", ONE, overlay).secs(240),
];

/// Files by extents, and by block maps.
const TWO: &[Variant] = &[EXT3_1K, K4];

/// A few hundred files that are on every machine that builds the module.
const TREE: &str = "/usr/include/linux";

/// Runs a script in the file system under test. `needs` are programs that may be missing.
fn shell(needs: &[&str], script: &str) -> Res<String> {
    for program in needs {
        let found = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"]
            .iter()
            .any(|dir| crate::sys::exists(&format!("{dir}/{program}")));
        if !found {
            skip!("no program {program}");
        }
    }
    let script = format!("set -e; cd {MNT}; export HOME={MNT}; umask 022\n{script}");
    let (code, text) = run_cmd("bash", &["-c", &script])?;
    let last: Vec<&str> = text.lines().rev().take(12).collect();
    ensure!(code == 0, "exit {code}: {last:?}");
    Ok(text)
}

/// All that a tree has to say: names, kinds, modes, owners, links, sizes, times, targets, contents
/// and attributes.
const DIGEST: &str = "
find . -path ./lost+found -prune -o -printf '%p %y %m %U %G %n %T@ %l\\n' | sort | sha256sum
find . -type f -printf '%s %p\\n' | sort | sha256sum
find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum
";

/// Mounted again, and mounted by the kernel's ext4, all is as it was.
fn stays(t: &mut T, what: &str) -> Res {
    let before = shell(&[], DIGEST)?;
    t.cycle()?;
    same!(shell(&[], DIGEST)?, before, "{what}, mounted again");
    if t.ours() && knows_fs("ext4") {
        t.umount()?;
        let dev = t.dev.clone();
        t.mount_as(&dev, MNT, "ext4", libc::MS_RDONLY, "")?;
        same!(shell(&[], DIGEST)?, before, "{what}, by ext4");
    }
    Ok(())
}

/// A history with branches, packed and cloned; git checks every object by its hash.
fn git(t: &mut T) -> Res {
    t.fresh_mb(256)?;
    shell(
        &["git"],
        &format!(
            "
            exec 2>&1
            export GIT_CONFIG_NOSYSTEM=1
            git config --global user.name n; git config --global user.email n@n
            git config --global init.defaultBranch main; git config --global core.fsync all
            git config --global gc.autoDetach false; git config --global advice.detachedHead false
            git init -q one; cp -r {TREE} one/linux; cd one
            git add .; git commit -qm 0
            git checkout -qb side; rm -r linux/can; git commit -qam side; git checkout -q main
            for i in 1 2 3; do
                for f in linux/[a-d]*.h; do echo \"/* $i */\" >>$f; done
                git mv linux/fs.h linux/fs$i.h; git commit -qam $i; git mv linux/fs$i.h linux/fs.h
            done
            git commit -qam back; git merge -q --no-edit side
            git gc -q --prune=now; git fsck --strict --no-progress
            cd ..; git clone -q --no-local one two; git clone -q one three
            git -C two fsck --strict --no-progress
            git -C three checkout -q HEAD~3; git -C three checkout -q main
            for d in one two three; do test -z \"$(git -C $d status --porcelain)\"; done
            diff -r --exclude=.git one two; diff -r --exclude=.git one three
            "
        ),
    )?;
    stays(t, "repositories")
}

/// The same rows by every kind of journal, beside a checkpoint, a vacuum and a rollback.
fn sqlite(t: &mut T) -> Res {
    t.fresh_mb(128)?;
    let told = shell(
        &["sqlite3"],
        "
        for mode in delete truncate persist wal memory; do
            {
                echo \"pragma journal_mode=$mode; pragma synchronous=full;\"
                echo 'pragma mmap_size=4000000;'
                echo 'create table t(k integer primary key, v blob); create index i on t(v);'
                for n in $(seq 1 30); do
                    echo 'begin; with recursive c(x) as'
                    echo '(select 1 union all select x+1 from c where x<40)'
                    echo \"insert into t(v) select printf('%0*d', 20 + x * 20, x * $n) from c;\"
                    echo 'commit;'
                    [ $((n % 7)) != 0 ] || echo 'begin; delete from t; rollback;'
                    [ $((n % 9)) != 0 ] || echo 'delete from t where k % 3 = 0;'
                done
                echo 'pragma wal_checkpoint(truncate); vacuum; pragma integrity_check;'
            } | sqlite3 $mode.db >$mode.out
            grep -qx ok $mode.out
            sqlite3 $mode.db .dump >$mode.sql
            cmp $mode.sql delete.sql
        done
        sqlite3 copy.db <wal.sql; sqlite3 copy.db 'pragma integrity_check'
        ",
    )?;
    same!(told.trim(), "ok", "the last check");
    stays(t, "databases")
}

/// What the scripts of PostgreSQL have in common: where it is, and that it runs as its own user,
/// with sockets and logs outside of the file system.
const POSTGRES: &str = "
    PG=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1); export PGHOST=/tmp PGDATABASE=postgres
    as() { setpriv --reuid=postgres --regid=postgres --clear-groups \"$@\"; }
    sql() { local c; for c; do as psql -qAtX -v ON_ERROR_STOP=1 -c \"$c\"; done; }
    trap '[ $? = 0 ] || as $PG/pg_ctl -D $PWD/pg -s -m immediate stop' EXIT
    server() {
        as $PG/pg_ctl -D $PWD/pg -s -w -t 300 -l /tmp/pg.log \"$@\" 2>/tmp/pg_ctl.log ||
            { cat /tmp/pg_ctl.log /tmp/pg.log; false; }
    }
    fresh() {
        mkdir pg; chown postgres pg
        as $PG/initdb -D $PWD/pg -k -A trust --wal-segsize=1 -E UTF8 --locale=C >/tmp/initdb.log
        {
            echo \"unix_socket_directories = '/tmp'\"; echo \"listen_addresses = ''\"
            echo 'dynamic_shared_memory_type = mmap'; echo 'shared_buffers = 16MB'
            echo 'max_wal_size = 16MB'
        } >>pg/postgresql.conf
        sync pg/postgresql.conf
        server start
    }
";

/// What PostgreSQL's own user is needed for.
fn as_postgres(script: &str) -> Res<String> {
    if !crate::sys::exists("/usr/lib/postgresql") {
        skip!("no PostgreSQL");
    }
    shell(&["setpriv", "psql"], &format!("{POSTGRES}\n{script}"))
}

/// Its benchmark's accounts add up, also after the server was killed and replayed its own log; its
/// pages have the sums that they say, and its indexes what is in the tables.
fn postgres(t: &mut T) -> Res {
    t.fresh_mb(512)?;
    let told = as_postgres(
        "
        fresh
        as $PG/pgbench -q -i -s 2 2>/dev/null
        as $PG/pgbench -n -c 4 -t 100 >/dev/null
        server -m immediate stop; server start
        as $PG/pgbench -n -c 2 -t 50 >/dev/null
        sql 'vacuum full' 'reindex database postgres' 'create extension amcheck'
        as $PG/pg_amcheck --heapallindexed
        echo $(sql 'select count(*), (select sum(abalance) from pgbench_accounts) = sum(delta)
            and (select sum(tbalance) from pgbench_tellers) = sum(delta) from pgbench_history')
        server -m fast stop
        as $PG/pg_checksums --check -D $PWD/pg >/dev/null
        ",
    )?;
    same!(
        told.trim(),
        "500|t",
        "transactions, and whether they add up"
    );
    stays(t, "a cluster")
}

/// The power goes while it works: each transaction that was committed before is there.
fn postgres_crash(t: &mut T) -> Res {
    let d = start(t)?;
    as_postgres(
        "
        fresh
        sql 'create table t(k int primary key, v text)'
        (
            for i in $(seq 100000); do
                echo \"insert into t values ($i, repeat('$i', 50)) returning k;\"
            done | as psql -qAtX >/tmp/acked || true
        ) >/dev/null 2>&1 &
        until [ -s /tmp/acked ]; do sleep 0.1; done
        ",
    )?;
    // Who has been told so far was told the truth. In full lines: psql writes by pages.
    let acked = shell(&[], "wc -l </tmp/acked")?;
    cut(t, &d)?;
    as_postgres("server -m immediate stop; wait")?;
    lights_on(t, &d)?;
    t.mount("")?;
    let last = acked.trim();
    let told = as_postgres(&format!(
        "
        server start
        sql 'select count(*) from t where k <= {last}'
        sql 'create extension amcheck'
        as $PG/pg_amcheck --heapallindexed
        server -m fast stop
        "
    ))?;
    same!(told.trim(), last, "transactions that were committed");
    t.umount()?;
    t.fsck()
}

/// Links, long names, sparse files and attributes go into an archive and come out.
fn tar(t: &mut T) -> Res {
    t.fresh_mb(256)?;
    shell(
        &["tar", "setfattr", "getfattr"],
        &format!(
            "
            mkdir -p a/deep; cp -r {TREE} a/linux
            long=$(printf 'n%.0s' $(seq 250)); echo long >a/deep/$long; ln a/deep/$long a/second
            ln -s ../linux/fs.h a/deep/link; ln -s $long$long a/deep/longer; mkfifo a/fifo
            truncate -s 40M a/sparse
            for at in 0 12345 1048576 9999999 41000000; do
                printf data | dd of=a/sparse bs=1 seek=$at conv=notrunc status=none
            done
            setfattr -n user.k -v value a/linux/fs.h
            chmod 4711 a/second; chown 1234:5678 a/linux/can.h
            tar --xattrs -cSf a.tar a
            mkdir b; tar --xattrs -xSpf a.tar -C b; tar --xattrs -df a.tar -C b
            getfattr --only-values -n user.k b/a/linux/fs.h | grep -qx value
            test $(stat -c %h b/a/second) = 2
            cp -a --sparse=always a/sparse copy; cmp a/sparse copy
            cp -a a c; diff -r --no-dereference -x fifo a c
            for f in a/sparse b/a/sparse copy c/sparse; do test $(stat -c %b $f) -lt 2048; done
            "
        ),
    )?;
    stays(t, "what was in the archive")
}

/// A copy, and copies of what has changed: by a new file, and in place.
fn rsync(t: &mut T) -> Res {
    t.fresh_mb(256)?;
    shell(
        &["rsync"],
        &format!(
            "
            cp -r {TREE} a; seq 1 200000 >a/large; ln a/large a/again
            rsync -aHX a/ b; rsync -aHX a/ c
            rm -r a/can; mv a/usb a/moved; for f in a/[e-h]*.h; do echo more >>$f; done
            printf middle | dd of=a/large bs=1 seek=1000000 conv=notrunc status=none
            rsync -aHX --delete --no-whole-file a/ b
            rsync -aHX --delete --no-whole-file --inplace a/ c
            rsync -aHX --delete --fsync a/ d
            for d in b c d; do test -z \"$(rsync -naHXci --delete a/ $d)\"; diff -r a $d; done
            "
        ),
    )?;
    stays(t, "the copies")
}

/// Packages are unpacked over older ones: each file by a new one, fsync and rename.
fn dpkg(t: &mut T) -> Res {
    t.fresh_mb(256)?;
    shell(
        &["dpkg", "dpkg-deb"],
        &format!(
            "
            mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates debs work
            touch root/var/lib/dpkg/status
            files=({TREE}/*.h)
            for version in 1 2; do
                for n in $(seq 1 20); do
                    d=work/p$n; rm -rf $d; mkdir -p $d/DEBIAN $d/usr/share/p$n
                    printf '%s\\n' \"Package: p$n\" \"Version: $version\" 'Architecture: all' \\
                        'Maintainer: n <n@n>' 'Description: n' >$d/DEBIAN/control
                    cp \"${{files[@]:$((n * 10)):10}}\" $d/usr/share/p$n
                    for f in $d/usr/share/p$n/*; do echo $version >>$f; done
                    [ $n != $version ] || rm $d/usr/share/p$n/*.h
                    dpkg-deb -Znone -b $d debs/p$n-$version.deb >/dev/null
                done
                dpkg --force-not-root --force-script-chrootless --root=$PWD/root --log=/dev/null \\
                    --unpack debs/*-$version.deb >/dev/null
                for n in $(seq 1 20); do
                    diff -rq work/p$n/usr root/usr | grep -v '^Only in root' >>differ || true
                done
                test ! -s differ
                test -z \"$(find root -name '*.dpkg-*')\"
            done
            test $(dpkg --root=$PWD/root --get-selections | wc -l) = 20
            "
        ),
    )?;
    stays(t, "the packages")
}

/// Random writes, each block with its checksum: by the page cache, past it, mapped, and all three.
fn fio(t: &mut T) -> Res {
    t.fresh_mb(256)?;
    let job = |name: &str, engine: &str, more: &str| {
        format!(
            "fio --name={name} --filename={MNT}/{name} --ioengine={engine} --rw=randwrite \
             --bsrange=512-64k --blockalign=512 --size=24m --verify=crc32c --randseed=7 \
             --verify_fatal=1 --minimal --fallocate=none --aux-path=/tmp --group_reporting {more}\n"
        )
    };
    let jobs = job("buffered", "psync", "--fsync=64")
        + &job("direct", "libaio", "--direct=1 --iodepth=8")
        + &job("mapped", "mmap", "")
        + &job("whole", "psync", "--overwrite=1 --bs=4k --direct=1");
    let quiet =
        |jobs: &str| format!("({jobs}) >/tmp/fio.out 2>&1 || {{ tail -3 /tmp/fio.out; exit 1; }}");
    shell(&["fio"], &quiet(&jobs))?;
    stays(t, "files")?;
    t.umount()?;
    t.mount("")?;
    let again = jobs.replace(" --minimal", " --minimal --verify_only=1");
    shell(&["fio"], &quiet(&again))?;
    Ok(())
}

/// overlayfs with both layers here: what is changed above is not changed below.
fn overlay(t: &mut T) -> Res {
    if !knows_fs("overlay") {
        skip!("no overlayfs");
    }
    t.fresh_mb(256)?;
    let told = shell(
        &["mount"],
        &format!(
            "
            mkdir lower upper work merged; cp -r {TREE} lower/linux
            (cd lower; find . -type f -print0 | sort -z | xargs -0 sha256sum) >lower.sums
            mount -t overlay o -o lowerdir=lower,upperdir=upper,workdir=work,redirect_dir=on merged
            trap 'umount merged' EXIT
            cp -r {TREE} expected
            for d in merged/linux expected; do
                rm -r $d/can; mv $d/usb $d/renamed; rm $d/fs.h
                for f in $d/[i-k]*.h; do echo more >>$f; done
                mkdir $d/can; echo new >$d/can/new; ln -s can/new $d/link; chmod 600 $d/loop.h
            done
            diff -r --no-dereference merged/linux expected
            test ! -e upper/linux/acct.h; test -c upper/linux/fs.h
            umount merged; trap - EXIT
            (cd lower; sha256sum --quiet -c ../lower.sums)
            mount -t overlay o -o lowerdir=lower,upperdir=upper,workdir=work,redirect_dir=on merged
            trap 'umount merged' EXIT
            diff -r --no-dereference merged/linux expected
            echo the same
            "
        ),
    )?;
    same!(told.trim(), "the same", "what is seen");
    stays(t, "layers")
}
