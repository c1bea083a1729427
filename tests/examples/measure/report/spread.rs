//! How a figure is spread over the runs.

/// Figures, sorted.
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn new(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<_> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The middle one, or the mean of the two.
    pub(crate) fn median(&self) -> Option<f64> {
        let (lower, upper) = (self.0.get(self.count().checked_sub(1)? / 2)?, self.0.get(self.count() / 2)?);
        Some(lower.midpoint(*upper))
    }

    /// The smallest figure that so many percent do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    pub(crate) fn worst(&self) -> Option<f64> {
        self.0.last().copied()
    }

    pub(crate) fn within(&self, limit: f64) -> usize {
        self.0.iter().filter(|figure| **figure <= limit).count()
    }
}

/// Milliseconds, or seconds where that is shorter.
pub(crate) fn time(milliseconds: Option<f64>) -> String {
    match milliseconds {
        None => "–".into(),
        Some(time) if time < 1000.0 => format!("{time:.0} ms"),
        Some(time) => format!("{:.1} s", time / 1000.0),
    }
}
