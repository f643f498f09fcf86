// SPDX-License-Identifier: GPL-2.0
//! Encryption: policies and keys by ioctl, as the program fscrypt does it.

use crate::sys::{Fd, Sys};
use sha2::{Digest, Sha512};
use std::hash::Hasher;

/// Files by AES-256-XTS, names by AES-256-CTS.
const AES_256_XTS: u8 = 1;
const AES_256_CTS: u8 = 4;

/// `struct fscrypt_policy_v2`. Names are padded to 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyV2 {
    pub version: u8,
    pub contents: u8,
    pub names: u8,
    pub flags: u8,
    pub log2_data_unit_size: u8,
    pub reserved: [u8; 3],
    pub key: [u8; 16],
}

impl PolicyV2 {
    pub fn new(key: [u8; 16]) -> PolicyV2 {
        PolicyV2 {
            version: 2,
            contents: AES_256_XTS,
            names: AES_256_CTS,
            flags: 3,
            log2_data_unit_size: 0,
            reserved: [0; 3],
            key,
        }
    }
}

/// `struct fscrypt_policy_v1`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyV1 {
    pub version: u8,
    pub contents: u8,
    pub names: u8,
    pub flags: u8,
    pub key: [u8; 8],
}

impl PolicyV1 {
    pub fn new(key: [u8; 8]) -> PolicyV1 {
        PolicyV1 {
            version: 0,
            contents: AES_256_XTS,
            names: AES_256_CTS,
            flags: 3,
            key,
        }
    }
}

/// Names keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyName {
    V1([u8; 8]),
    V2([u8; 16]),
}

/// `struct fscrypt_key_specifier`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Spec {
    kind: u32,
    reserved: u32,
    bytes: [u8; 32],
}

impl From<KeyName> for Spec {
    fn from(name: KeyName) -> Spec {
        let mut spec = Spec::default();
        match name {
            KeyName::V1(key) => {
                spec.kind = 1;
                spec.bytes[..8].copy_from_slice(&key);
            }
            KeyName::V2(key) => {
                spec.kind = 2;
                spec.bytes[..16].copy_from_slice(&key);
            }
        }
        spec
    }
}

/// Bytes of a key.
pub const KEY_SIZE: usize = 64;

/// `struct fscrypt_add_key_arg` with the key behind it.
#[repr(C)]
struct AddKey {
    spec: Spec,
    size: u32,
    id: u32,
    rest: [u32; 8],
    raw: [u8; KEY_SIZE],
}

/// `struct fscrypt_remove_key_arg`.
#[repr(C)]
struct RemoveKey {
    spec: Spec,
    status: u32,
    rest: [u32; 5],
}

/// `struct fscrypt_get_key_status_arg`.
#[repr(C)]
struct KeyStatus {
    spec: Spec,
    rest: [u32; 6],
    status: u32,
    flags: u32,
    users: u32,
    out: [u32; 13],
}

/// A key for tests.
pub fn key(n: u8) -> [u8; KEY_SIZE] {
    std::array::from_fn(|i| n.wrapping_mul(31).wrapping_add(i as u8))
}

/// HMAC of SHA-512, with a key that is no longer than a block.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 64] {
    let keyed = |pad: u8| {
        let mut block = [pad; 128];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        Sha512::new_with_prefix(block)
    };
    let inner = parts.iter().fold(keyed(0x36), Digest::chain_update);
    keyed(0x5c).chain_update(inner.finalize()).finalize().into()
}

/// From which number on the data units of an inode are counted, if the policy is
/// FSCRYPT_POLICY_FLAG_IV_INO_LBLK_32 (fs/crypto/keysetup.c, hkdf.c).
pub fn first_unit(key: &[u8; KEY_SIZE], ino: u64) -> u32 {
    const INODE_HASH_KEY: u8 = 7;
    let secret = hmac(&[0; 64], &[key]);
    let derived = hmac(&secret, &[b"fscrypt\0", &[INODE_HASH_KEY], &[1]]);
    let half = |at| u64::from_le_bytes(std::array::from_fn(|i| derived[at + i]));
    #[allow(deprecated, reason = "the one that the kernel uses, too")]
    let mut sip = std::hash::SipHasher::new_with_keys(half(0), half(8));
    sip.write(&ino.to_le_bytes());
    sip.finish() as u32
}

impl Fd {
    /// FS_IOC_ADD_ENCRYPTION_KEY: a key for policies of version 2; says its name.
    pub fn add_key(&self, key: &[u8; KEY_SIZE]) -> Sys<[u8; 16]> {
        self.add_key_as(KeyName::V2([0; 16]), key)
    }

    /// The same of a key with a name, if it is for policies of version 1.
    pub fn add_key_as(&self, name: KeyName, key: &[u8; KEY_SIZE]) -> Sys<[u8; 16]> {
        let mut arg = AddKey {
            spec: name.into(),
            size: KEY_SIZE as u32,
            id: 0,
            rest: [0; 8],
            raw: *key,
        };
        // SAFETY: It reads the structure and the key, and writes the specifier.
        unsafe { self.ioctl(0xc050_6617, &mut arg)? };
        let mut said = [0; 16];
        said.copy_from_slice(&arg.spec.bytes[..16]);
        Ok(said)
    }

    /// FS_IOC_REMOVE_ENCRYPTION_KEY; says what is left (`FSCRYPT_KEY_REMOVAL_STATUS_FLAG_*`).
    pub fn remove_key(&self, name: KeyName) -> Sys<u32> {
        let mut arg = RemoveKey {
            spec: name.into(),
            status: 0,
            rest: [0; 5],
        };
        // SAFETY: It reads and writes the structure.
        unsafe { self.ioctl(0xc040_6618, &mut arg)? };
        Ok(arg.status)
    }

    /// FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS.
    pub fn remove_key_of_all(&self, name: KeyName) -> Sys<u32> {
        let mut arg = RemoveKey {
            spec: name.into(),
            status: 0,
            rest: [0; 5],
        };
        // SAFETY: It reads and writes the structure.
        unsafe { self.ioctl(0xc040_6619, &mut arg)? };
        Ok(arg.status)
    }

    /// FS_IOC_GET_ENCRYPTION_KEY_STATUS: 1 absent, 2 present, 3 removed in part.
    pub fn key_status(&self, name: KeyName) -> Sys<u32> {
        let mut arg = KeyStatus {
            spec: name.into(),
            rest: [0; 6],
            status: 0,
            flags: 0,
            users: 0,
            out: [0; 13],
        };
        // SAFETY: It reads and writes the structure.
        unsafe { self.ioctl(0xc080_661a, &mut arg)? };
        Ok(arg.status)
    }

    /// FS_IOC_SET_ENCRYPTION_POLICY.
    pub fn set_policy(&self, policy: PolicyV2) -> Sys<()> {
        let mut policy = policy;
        // SAFETY: It reads the version, and then the structure of that.
        unsafe { self.ioctl(0x800c_6613, &mut policy) }.map(|_| ())
    }

    /// The same, of version 1.
    pub fn set_policy_v1(&self, policy: PolicyV1) -> Sys<()> {
        let mut policy = policy;
        // SAFETY: As above.
        unsafe { self.ioctl(0x800c_6613, &mut policy) }.map(|_| ())
    }

    /// FS_IOC_GET_ENCRYPTION_POLICY_EX: the bytes of the policy.
    pub fn policy(&self) -> Sys<Vec<u8>> {
        let mut arg = (24u64, [0u8; 24]);
        // SAFETY: It reads the size, and writes as many bytes at most behind it.
        unsafe { self.ioctl(0xc009_6616, &mut arg)? };
        Ok(arg.1[..(arg.0 as usize).min(24)].to_vec())
    }

    /// FS_IOC_GET_ENCRYPTION_POLICY.
    pub fn policy_v1(&self) -> Sys<Vec<u8>> {
        let mut arg = [0u8; 12];
        // SAFETY: It writes 12 bytes.
        unsafe { self.ioctl(0x400c_6615, &mut arg)? };
        Ok(arg.to_vec())
    }

    /// FS_IOC_GET_ENCRYPTION_PWSALT.
    pub fn salt(&self) -> Sys<[u8; 16]> {
        let mut salt = [0u8; 16];
        // SAFETY: It writes 16 bytes.
        unsafe { self.ioctl(0x4010_6614, &mut salt)? };
        Ok(salt)
    }

    /// FS_IOC_GET_ENCRYPTION_NONCE.
    pub fn nonce(&self) -> Sys<[u8; 16]> {
        let mut nonce = [0u8; 16];
        // SAFETY: It writes 16 bytes.
        unsafe { self.ioctl(0x8010_661b, &mut nonce)? };
        Ok(nonce)
    }
}
