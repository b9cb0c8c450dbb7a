//! What was measured, beside what it must not exceed.

use std::fmt::Write as _;

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What DESIGN.md allows.
    pub budget: &'static str,
    /// What it was.
    pub measured: String,
    /// Within the budget; none where that is for a reader to say.
    pub met: Option<bool>,
    /// How it was measured, and what is not in the figure.
    pub how: String,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Table(Vec<Row>);

/// Some measurements of the same thing.
#[derive(Clone, Debug)]
pub struct Sample(Vec<f64>);

// === impl Table ===

impl Table {
    /// Adds a line, and shows it at once.
    pub fn add(&mut self, row: Row) {
        println!(
            "{}: {} (budget: {}){}",
            row.what,
            row.measured,
            row.budget,
            if row.met == Some(false) { " MISSED" } else { "" }
        );
        println!("    {}", row.how);
        self.0.push(row);
    }

    /// As a Markdown table.
    pub fn markdown(&self) -> String {
        let mut out = String::from("| what | budget | measured | | how |\n|---|---|---|---|---|\n");
        for Row { what, budget, measured, met, how } in &self.0 {
            let met = met.map_or("", |met| if met { "within" } else { "**missed**" });
            let _ = writeln!(out, "| {what} | {budget} | {measured} | {met} | {how} |");
        }
        out
    }
}

// === impl Sample ===

impl Sample {
    /// Of these values.
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The value below which this part of them lies.
    pub fn quantile(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
