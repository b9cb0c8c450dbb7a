//! Bits that processes inherit: `followForks` and `followChildren`. There are 64 for all policies of an agent; a bit
//! once given stays, since processes carry it.

use trigon_probes::hooks::Lineage;

use super::CompileError;

/// As many bits a process has.
const BITS: usize = 64;

/// What gives bits.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Pids { pids: Vec<u32>, in_namespace: bool },
    Binaries(Vec<Box<[u8]>>),
}

/// The bits that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineages(Vec<Origin>);

// === impl Lineages ===

impl Lineages {
    /// The bit of who descends from one of these pids.
    ///
    /// # Errors
    /// All bits are given.
    pub fn of_pids(&mut self, pids: &[u32], in_namespace: bool) -> Result<u64, CompileError> {
        let mut pids = pids.to_vec();
        pids.sort_unstable();
        self.bit(Origin::Pids { pids, in_namespace })
    }

    /// The bit of who executes, or descends from who executed, one of these.
    ///
    /// # Errors
    /// All bits are given.
    pub fn of_binaries(&mut self, paths: &[Box<[u8]>]) -> Result<u64, CompileError> {
        let mut paths = paths.to_vec();
        paths.sort_unstable();
        self.bit(Origin::Binaries(paths))
    }

    /// What the programs are told.
    pub fn plan(&self) -> Lineage {
        let mut plan = Lineage::default();
        for (index, origin) in self.0.iter().enumerate() {
            let bit = 1 << index;
            match origin {
                Origin::Pids { pids, in_namespace } => {
                    let to = if *in_namespace { &mut plan.namespace_pids } else { &mut plan.pids };
                    pids.iter().for_each(|pid| add(to, *pid, bit));
                }
                Origin::Binaries(paths) => {
                    for path in paths {
                        add(&mut plan.binaries, String::from_utf8_lossy(path).into_owned(), bit);
                    }
                }
            }
        }
        plan
    }

    fn bit(&mut self, origin: Origin) -> Result<u64, CompileError> {
        let index = match self.0.iter().position(|known| *known == origin) {
            Some(index) => index,
            None if self.0.len() >= BITS => {
                return Err(CompileError::Full { what: "followForks and followChildren", limit: BITS });
            }
            None => {
                self.0.push(origin);
                self.0.len() - 1
            }
        };
        Ok(1 << index)
    }
}

fn add<K: PartialEq>(to: &mut Vec<(K, u64)>, key: K, bit: u64) {
    match to.iter_mut().find(|(known, _)| *known == key) {
        Some((_, bits)) => *bits |= bit,
        None => to.push((key, bit)),
    }
}
