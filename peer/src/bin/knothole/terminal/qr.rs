//! A text as a QR code of half blocks: two modules a character, one above the other.
//!
//! Light modules are drawn and dark ones left: right on a dark ground, and cameras read it inverted, too.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code: four by the standard; cameras are content with less where there is no room.
const QUIET: [usize; 3] = [4, 2, 1];

/// A code with so many light modules around it.
#[derive(Debug)]
pub(crate) struct Qr {
    modules: Vec<Color>,
    /// Modules of a side.
    side: usize,
    quiet: usize,
}

impl Qr {
    /// The code of a text, with as broad a rim as so many columns and rows have room for; else the columns and rows that it
    /// needs at least.
    pub(crate) fn fitting(text: &str, columns: usize, rows: usize) -> Result<Self, (usize, usize)> {
        // The least correction makes the smallest code: a screen is neither stained nor torn.
        let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else {
            return Err((usize::MAX / 2, usize::MAX / 2));
        };
        let size = |quiet: usize| {
            let modules = code.width() + 2 * quiet;
            (modules, modules.div_ceil(2))
        };
        let fits = |quiet: &usize| size(*quiet).0 <= columns && size(*quiet).1 <= rows;
        match QUIET.into_iter().find(fits) {
            Some(quiet) => Ok(Self { side: code.width(), modules: code.into_colors(), quiet }),
            None => Err(size(1)),
        }
    }

    /// Columns that it takes.
    pub(crate) fn width(&self) -> usize {
        self.side + 2 * self.quiet
    }

    /// Its rows, from the top.
    pub(crate) fn rows(&self) -> Vec<String> {
        let row = |y: usize| (0..self.width()).map(|x| half(self.is_light(x, y), self.is_light(x, y + 1))).collect();
        (0..self.width()).step_by(2).map(row).collect()
    }

    fn is_light(&self, x: usize, y: usize) -> bool {
        let inside = |at: usize| at.checked_sub(self.quiet).filter(|at| *at < self.side);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => self.modules[y * self.side + x] == Color::Light,
            _ => true,
        }
    }
}

const fn half(upper: bool, lower: bool) -> char {
    match (upper, lower) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of one rendezvous by its IPv4 address; keys have no two letters alike in a row.
    fn link(host: &str) -> String {
        let key = "ab2cd3ef4gh5ij6kl7mnopqrstuvwxyzab2cd3ef4gh5ij6kl7mn";
        format!("knothole:{key}?via={key}@{host}")
    }

    #[test]
    fn the_rim_is_as_broad_as_there_is_room() {
        let text = link("203.0.113.5:3478");
        let wide = Qr::fitting(&text, 120, 40).unwrap();
        let narrow = Qr::fitting(&text, 44, 22).unwrap();
        assert_eq!((wide.quiet, narrow.quiet), (4, 1));
        assert_eq!(narrow.rows().len(), 22);
        assert!(narrow.rows().iter().all(|row| row.chars().count() == narrow.width()));
        assert_eq!(Qr::fitting(&text, 40, 10).unwrap_err(), (43, 22));
    }

    #[test]
    fn a_link_of_any_usual_host_fits_eighty_by_twenty_four() {
        for host in ["127.0.0.1:40000", "255.255.255.255:3478", "rendezvous.example.org:3478"] {
            let code = Qr::fitting(&link(host), 80, 24).unwrap();
            assert!(code.rows().len() <= 24, "{host}: {}", code.rows().len());
        }
    }

    #[test]
    fn what_is_drawn_reads_back() {
        for (text, columns) in
            [(link("rendezvous.example.org:3478"), 80), (link("10.0.0.1:1"), 44), ("knothole:".into(), 40)]
        {
            let drawn = Qr::fitting(&text, columns, 60).unwrap();
            // Every half of every character is a module again.
            let halves = |row: &String| {
                let upper: Vec<bool> = row.chars().map(|c| matches!(c, '█' | '▀')).collect();
                let lower: Vec<bool> = row.chars().map(|c| matches!(c, '█' | '▄')).collect();
                [upper, lower]
            };
            let lines: Vec<Vec<bool>> = drawn.rows().iter().flat_map(halves).collect();
            let code = QrCode::with_error_correction_level(&text, EcLevel::L).unwrap();
            let side = code.width();
            let light: Vec<bool> = code.into_colors().into_iter().map(|color| color == Color::Light).collect();
            for (y, line) in lines.iter().enumerate() {
                for (x, seen) in line.iter().enumerate() {
                    let inside = |at: usize| at.checked_sub(drawn.quiet).filter(|at| *at < side);
                    let expected = inside(x).zip(inside(y)).is_none_or(|(x, y)| light[y * side + x]);
                    assert_eq!(*seen, expected, "{text}: {x}, {y}");
                }
            }
        }
    }
}
