//! Two things measured in turns: whatever else the machine does meets both.

use super::times::median;

/// How often each has its turn.
pub const TURNS: usize = 8;

/// What the turns came to: medians of each, and the median of the ratios of neighbours.
pub struct Compared {
    pub value: f64,
    pub limit: f64,
    pub ratio: f64,
    pub ratios: Vec<f64>,
}

/// Runs both in turns; each answers its rate. The first turn of both warms up and is not counted.
pub async fn compare<V, L>(mut value: impl FnMut(usize) -> V, mut limit: impl FnMut(usize) -> L) -> Compared
where
    V: Future<Output = f64>,
    L: Future<Output = f64>,
{
    let (mut values, mut limits) = (vec![], vec![]);
    for turn in 0..=TURNS {
        let (ours, theirs) = match turn % 2 {
            0 => {
                let ours = value(turn).await;
                (ours, limit(turn).await)
            }
            _ => {
                let theirs = limit(turn).await;
                (value(turn).await, theirs)
            }
        };
        if turn > 0 {
            values.push(ours);
            limits.push(theirs);
        }
    }
    let ratios: Vec<f64> = values.iter().zip(&limits).map(|(ours, theirs)| ours / theirs).collect();
    Compared { value: median(values), limit: median(limits), ratio: median(ratios.clone()), ratios }
}

impl Compared {
    pub fn spread(&self) -> String {
        let least = self.ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.ratios.iter().copied().fold(0.0, f64::max);
        format!("{} turns, ratios from {least:.2} to {most:.2}", self.ratios.len())
    }
}
