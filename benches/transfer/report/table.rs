//! Medians, and tables of them.

use std::fmt::Write;

/// One figure over the rounds, in ascending order.
#[derive(Debug)]
pub struct Series(Vec<f64>);

impl Series {
    /// Sorts the figures.
    pub fn of(values: impl Iterator<Item = f64>) -> Series {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Series(values)
    }

    /// The middle one, or the mean of the two in the middle.
    pub fn median(&self) -> Option<f64> {
        let (low, high) = (
            self.0.get(self.0.len().checked_sub(1)? / 2)?,
            self.0.get(self.0.len() / 2)?,
        );
        Some((low + high) / 2.0)
    }

    /// The smallest figure that this share of the figures does not exceed.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let place = (part * self.0.len() as f64).ceil() as usize;
        self.0.get(place.saturating_sub(1)).copied()
    }

    /// Median, and the minimum in brackets if they differ.
    pub fn show(&self, decimals: usize) -> String {
        let (Some(median), Some(min)) = (self.median(), self.0.first()) else {
            return String::new();
        };
        let (median, min) = (format!("{median:.decimals$}"), format!("{min:.decimals$}"));
        if median == min {
            median
        } else {
            format!("{median} ({min})")
        }
    }
}

/// A table of text.
pub struct Table {
    header: Vec<String>,
    /// Lines below the header, each with the header's number of cells.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without lines.
    pub fn new(header: &[&str]) -> Table {
        Table {
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Aligned columns, for a terminal or as Markdown.
    pub fn render(&self, markdown: bool) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| {
                lines()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for (number, line) in lines().enumerate() {
            let cells = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            let cells: Vec<String> = cells.collect();
            if markdown {
                let _ = writeln!(text, "| {} |", cells.join(" | "));
            } else {
                let _ = writeln!(text, "{}", cells.join("  ").trim_end());
            }
            if number == 0 && markdown {
                let rules: Vec<String> = widths
                    .iter()
                    .map(|width| "-".repeat((*width).max(3)))
                    .collect();
                let _ = writeln!(text, "| {} |", rules.join(" | "));
            }
        }
        text
    }
}
