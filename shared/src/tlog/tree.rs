//! Merkle arithmetic of RFC 6962, on top of `ct-merkle`, for trees that do not fit in memory.
//!
//! `ct-merkle` says which nodes a proof is made of; [`HashReader`] fetches the complete subtrees those nodes are
//! composed of, from tiles or from memory.

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sha2::{Digest, Sha256};

/// The hash of a leaf or of a subtree.
pub type NodeHash = [u8; 32];

/// No tree grows beyond this many leaves; larger sizes are refused before any arithmetic.
pub const MAX_SIZE: u64 = 1 << 62;
/// No proof has more hashes than this (C2SP allows 63 for consistency).
pub const MAX_PROOF_HASHES: usize = 63;

/// The hash of a leaf's data: SHA-256(0x00 ‖ data).
pub fn leaf_hash(data: &[u8]) -> NodeHash {
    Sha256::new().chain_update([0]).chain_update(data).finalize().into()
}

/// The hash of two children: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &NodeHash, right: &NodeHash) -> NodeHash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> NodeHash {
    Sha256::digest([]).into()
}

/// Gives the hashes of complete subtrees: all of a tree's hashes that never change as it grows.
pub trait HashReader {
    /// What can go wrong while fetching.
    type Error;
    /// The hash over the leaves `[index << height, (index + 1) << height)`. Asked only for subtrees that are
    /// complete in the size under discussion.
    fn complete(&self, height: u8, index: u64) -> Result<NodeHash, Self::Error>;
}

/// Why a hash or a proof could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError<E> {
    /// The index or size lies outside the tree.
    #[error("{asked} lies outside a tree of {size} leaves")]
    OutOfTree {
        /// The index or size asked for.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A hash could not be fetched.
    #[error(transparent)]
    Read(E),
}

/// Why a proof was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index lies outside the tree, or the old tree is larger than the new one.
    #[error("the proof speaks of a leaf or tree outside the checkpoint")]
    OutOfTree,
    /// The proof has the wrong number of hashes for this index and size.
    #[error("the proof has the wrong number of hashes")]
    WrongLength,
    /// The hashes do not lead to the root.
    #[error("the proof does not lead to the root")]
    Mismatch,
}

/// The hash over the leaves `[start, end)`, a node of the tree of `end` leaves or a part of it: `start` is a multiple
/// of the smallest power of two that is not below `end - start`.
fn range<R: HashReader>(reader: &R, start: u64, end: u64) -> Result<NodeHash, R::Error> {
    // The largest complete subtrees from left to right, then folded from the right.
    let mut parts = Vec::new();
    let mut at = start;
    while at < end {
        let height = (end - at).ilog2().min(if at == 0 { 63 } else { at.trailing_zeros() });
        parts.push(reader.complete(height as u8, at >> height)?);
        at += 1 << height;
    }
    let mut hash = parts.pop().unwrap_or_else(empty_root);
    while let Some(left) = parts.pop() {
        hash = node_hash(&left, &hash);
    }
    Ok(hash)
}

/// The root of the tree of the first `size` leaves.
pub fn root<R: HashReader>(reader: &R, size: u64) -> Result<NodeHash, TreeError<R::Error>> {
    if size > MAX_SIZE {
        return Err(TreeError::OutOfTree {
            asked: size,
            size: MAX_SIZE,
        });
    }
    range(reader, 0, size).map_err(TreeError::Read)
}

/// The leaves under a node of `ct-merkle`'s flat numbering: its level is the number of trailing ones.
fn span(node: u64, size: u64) -> (u64, u64) {
    let level = node.trailing_ones();
    let start = (node + 1 - (1 << level)) / 2;
    (start, (start + (1 << level)).min(size))
}

fn fetch<R: HashReader>(reader: &R, nodes: &[u64], size: u64) -> Result<Vec<NodeHash>, TreeError<R::Error>> {
    let one = |node: &u64| {
        let (start, end) = span(*node, size);
        range(reader, start, end).map_err(TreeError::Read)
    };
    nodes.iter().map(one).collect()
}

/// The audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling up.
pub fn inclusion_proof<R: HashReader>(reader: &R, index: u64, size: u64) -> Result<Vec<NodeHash>, TreeError<R::Error>> {
    if index >= size || size > MAX_SIZE {
        return Err(TreeError::OutOfTree { asked: index, size });
    }
    fetch(reader, &ct_merkle::indices_for_inclusion_proof(size, index), size)
}

/// The proof that the tree of `old` leaves is a prefix of the tree of `new` leaves. Empty for an empty old tree and for
/// equal sizes.
pub fn consistency_proof<R: HashReader>(reader: &R, old: u64, new: u64) -> Result<Vec<NodeHash>, TreeError<R::Error>> {
    if old > new || new > MAX_SIZE {
        return Err(TreeError::OutOfTree { asked: old, size: new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    fetch(reader, &ct_merkle::indices_for_consistency_proof(old, new - old), new)
}

fn bounded(proof: &[NodeHash]) -> Result<Vec<u8>, ProofError> {
    if proof.len() > MAX_PROOF_HASHES {
        return Err(ProofError::WrongLength);
    }
    Ok(proof.concat())
}

/// Checks that `leaf` (its data, not its hash) stands at `index` in the tree of `size` leaves with this root.
pub fn verify_inclusion(
    leaf: &[u8],
    index: u64,
    size: u64,
    root: &NodeHash,
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    use ct_merkle::InclusionVerifError as E;
    if index >= size || size > MAX_SIZE {
        return Err(ProofError::OutOfTree);
    }
    let proof = InclusionProof::<Sha256>::try_from_bytes(bounded(proof)?).map_err(|_| ProofError::WrongLength)?;
    RootHash::<Sha256>::new((*root).into(), size)
        .verify_inclusion(&leaf, index, &proof)
        .map_err(|e| match e {
            E::MalformedProof => ProofError::WrongLength,
            E::IncorrectHash => ProofError::Mismatch,
            _ => ProofError::OutOfTree,
        })
}

/// Checks that the tree of `old_size` leaves is a prefix of the tree of `new_size` leaves.
pub fn verify_consistency(
    old_size: u64,
    old_root: &NodeHash,
    new_size: u64,
    new_root: &NodeHash,
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    use ct_merkle::ConsistencyVerifError as E;
    if old_size > new_size || new_size > MAX_SIZE {
        return Err(ProofError::OutOfTree);
    }
    if old_size == 0 {
        // RFC 6962 has no proof from the empty tree: anything continues it, but its root is known.
        return match (proof.is_empty(), *old_root == empty_root()) {
            (false, _) => Err(ProofError::WrongLength),
            (true, false) => Err(ProofError::Mismatch),
            (true, true) => Ok(()),
        };
    }
    if old_size == new_size && old_root != new_root {
        return Err(ProofError::Mismatch);
    }
    let proof = ConsistencyProof::<Sha256>::try_from_bytes(bounded(proof)?).map_err(|_| ProofError::WrongLength)?;
    let old = RootHash::<Sha256>::new((*old_root).into(), old_size);
    RootHash::new((*new_root).into(), new_size)
        .verify_consistency(&old, &proof)
        .map_err(|e| match e {
            E::MalformedProof => ProofError::WrongLength,
            E::OldTreeEmpty | E::OldTreeLarger | E::NewTreeTooBig => ProofError::OutOfTree,
            _ => ProofError::Mismatch,
        })
}

/// Leaf hashes in memory, for tests and small trees.
impl HashReader for [NodeHash] {
    type Error = std::convert::Infallible;
    fn complete(&self, height: u8, index: u64) -> Result<NodeHash, Self::Error> {
        let (start, width) = ((index << height) as usize, 1usize << height);
        Ok(perfect(self[start..start + width].to_vec()))
    }
}

impl HashReader for Vec<NodeHash> {
    type Error = std::convert::Infallible;
    fn complete(&self, height: u8, index: u64) -> Result<NodeHash, Self::Error> {
        self.as_slice().complete(height, index)
    }
}

/// The root over a power of two of neighbouring hashes.
pub fn perfect(mut hashes: Vec<NodeHash>) -> NodeHash {
    debug_assert!(
        hashes.len().is_power_of_two(),
        "a perfect subtree has a power of two of leaves"
    );
    while hashes.len() > 1 {
        hashes = hashes
            .chunks_exact(2)
            .map(|pair| node_hash(&pair[0], &pair[1]))
            .collect();
    }
    hashes.pop().unwrap_or_else(empty_root)
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
