use super::*;

/// RFC 6962 section 2.1 read aloud: recursive, slow, and independent of the code under test.
mod naive {
    use super::{NodeHash, empty_root, node_hash};

    fn split(n: usize) -> usize {
        let mut k = 1;
        while k * 2 < n {
            k *= 2;
        }
        k
    }
    pub(super) fn mth(d: &[NodeHash]) -> NodeHash {
        match d.len() {
            0 => empty_root(),
            1 => d[0],
            n => node_hash(&mth(&d[..split(n)]), &mth(&d[split(n)..])),
        }
    }
    pub(super) fn path(m: usize, d: &[NodeHash]) -> Vec<NodeHash> {
        if d.len() <= 1 {
            return Vec::new();
        }
        let k = split(d.len());
        if m < k {
            [path(m, &d[..k]), vec![mth(&d[k..])]].concat()
        } else {
            [path(m - k, &d[k..]), vec![mth(&d[..k])]].concat()
        }
    }
    pub(super) fn proof(m: usize, d: &[NodeHash]) -> Vec<NodeHash> {
        subproof(m, d, true)
    }
    fn subproof(m: usize, d: &[NodeHash], whole: bool) -> Vec<NodeHash> {
        let n = d.len();
        if m == n {
            return if whole { Vec::new() } else { vec![mth(d)] };
        }
        let k = split(n);
        if m <= k {
            [subproof(m, &d[..k], whole), vec![mth(&d[k..])]].concat()
        } else {
            [subproof(m - k, &d[k..], false), vec![mth(&d[..k])]].concat()
        }
    }
}

fn leaves(n: usize) -> (Vec<Vec<u8>>, Vec<NodeHash>) {
    let data: Vec<Vec<u8>> = (0..n).map(|i| format!("leaf {i}").into_bytes()).collect();
    let hashes = data.iter().map(|d| leaf_hash(d)).collect();
    (data, hashes)
}

#[test]
fn rfc6962_known_answers() {
    // The eight leaves and the roots that the Certificate Transparency code bases have shared since 2013.
    let inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let hashes: Vec<NodeHash> = inputs.iter().map(|h| leaf_hash(&hex::decode(h).unwrap())).collect();
    for (i, want) in roots.iter().enumerate() {
        assert_eq!(
            hex::encode(root(&hashes, i as u64 + 1).unwrap()),
            *want,
            "{} leaves",
            i + 1
        );
    }
    assert_eq!(
        hex::encode(root(&hashes, 0).unwrap()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn every_inclusion_proof_up_to_64_is_the_rfcs() {
    let (data, hashes) = leaves(64);
    for size in 1..=64usize {
        let top = root(&hashes, size as u64).unwrap();
        assert_eq!(top, naive::mth(&hashes[..size]), "root of {size}");
        for (index, leaf) in data[..size].iter().enumerate() {
            let proof = inclusion_proof(&hashes, index as u64, size as u64).unwrap();
            assert_eq!(proof, naive::path(index, &hashes[..size]), "path of {index} in {size}");
            let check = |leaf: &[u8], index: usize, proof: &[NodeHash]| {
                verify_inclusion(leaf, index as u64, size as u64, &top, proof)
            };
            assert_eq!(check(leaf, index, &proof), Ok(()));
            assert_eq!(check(b"other", index, &proof), Err(ProofError::Mismatch));
            assert!(
                check(&data[index], index + 1, &proof).is_err() || size == 1,
                "{index}+1 in {size}"
            );
            for at in 0..proof.len() {
                let mut bent = proof.clone();
                bent[at][0] ^= 1;
                assert_eq!(check(&data[index], index, &bent), Err(ProofError::Mismatch));
            }
            let long = [proof.clone(), vec![[0; 32]]].concat();
            assert_eq!(check(&data[index], index, &long), Err(ProofError::WrongLength));
        }
    }
}

#[test]
fn every_consistency_proof_up_to_64_is_the_rfcs() {
    let (_, hashes) = leaves(64);
    for new in 0..=64usize {
        let new_root = root(&hashes, new as u64).unwrap();
        for old in 0..=new {
            let old_root = root(&hashes, old as u64).unwrap();
            let proof = consistency_proof(&hashes, old as u64, new as u64).unwrap();
            let want = if old == 0 {
                Vec::new()
            } else {
                naive::proof(old, &hashes[..new])
            };
            assert_eq!(proof, want, "{old} in {new}");
            let check = |old_root: &NodeHash, new_root: &NodeHash, proof: &[NodeHash]| {
                verify_consistency(old as u64, old_root, new as u64, new_root, proof)
            };
            assert_eq!(check(&old_root, &new_root, &proof), Ok(()), "{old} in {new}");
            assert!(
                check(&[9; 32], &new_root, &proof).is_err(),
                "foreign old root, {old} in {new}"
            );
            if old > 0 {
                assert!(
                    check(&old_root, &[9; 32], &proof).is_err(),
                    "foreign new root, {old} in {new}"
                );
            }
            for at in 0..proof.len() {
                let mut bent = proof.clone();
                bent[at][31] ^= 0x80;
                assert_eq!(
                    check(&old_root, &new_root, &bent),
                    Err(ProofError::Mismatch),
                    "{old} in {new}"
                );
            }
            let long = [proof, vec![[0; 32]]].concat();
            assert!(
                check(&old_root, &new_root, &long).is_err(),
                "long proof, {old} in {new}"
            );
        }
    }
}

#[test]
fn sizes_and_indices_outside_the_tree_are_refused() {
    let (data, hashes) = leaves(3);
    assert!(inclusion_proof(&hashes, 3, 3).is_err());
    assert!(inclusion_proof(&hashes, 0, 0).is_err());
    assert!(consistency_proof(&hashes, 4, 3).is_err());
    let top = root(&hashes, 3).unwrap();
    for (index, size) in [(3, 3), (0, 0), (u64::MAX, u64::MAX), (0, u64::MAX), (1 << 63, u64::MAX)] {
        assert_eq!(
            verify_inclusion(&data[0], index, size, &top, &[]),
            Err(ProofError::OutOfTree),
            "{index}/{size}"
        );
    }
    for (old, new) in [(4, 3), (1, u64::MAX), (u64::MAX, u64::MAX)] {
        assert_eq!(
            verify_consistency(old, &top, new, &top, &[]),
            Err(ProofError::OutOfTree),
            "{old}/{new}"
        );
    }
}
