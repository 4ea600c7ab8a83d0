//! [`Series`]: values over time in bounded memory. It holds at most a fixed number of columns; when it is full, every
//! two become one, so a longer recording has coarser columns.

/// A value that can take in the next one.
pub(super) trait Column: Clone {
    /// Takes in the value that follows.
    fn join(&mut self, later: &Self);
}

/// Columns of equal length, but for the last one.
pub(super) struct Series<T> {
    columns: Vec<T>,
    /// Values of a column.
    stride: usize,
    /// The column that is not full yet, and how many values it has.
    next: Option<(T, usize)>,
    most: usize,
}

impl<T: Column> Series<T> {
    /// An empty one of at most `most` columns, an even number.
    pub(super) fn new(most: usize) -> Series<T> {
        debug_assert!(most.is_multiple_of(2));
        Series { columns: Vec::new(), stride: 1, next: None, most }
    }

    /// Adds the next value.
    pub(super) fn push(&mut self, value: T) {
        let (column, count) = match self.next.take() {
            None => (value, 1),
            Some((mut column, count)) => {
                column.join(&value);
                (column, count + 1)
            }
        };
        if count < self.stride {
            self.next = Some((column, count));
            return;
        }
        if self.columns.len() == self.most {
            self.halve();
            // It is the first half of a longer column.
            self.next = Some((column, count));
            return;
        }
        self.columns.push(column);
    }

    fn halve(&mut self) {
        for n in 0..self.most / 2 {
            let later = self.columns[2 * n + 1].clone();
            self.columns.swap(n, 2 * n);
            self.columns[n].join(&later);
        }
        self.columns.truncate(self.most / 2);
        self.stride *= 2;
    }

    /// Values of a column.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// The columns, and how many values each has.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&T, usize)> {
        let whole = self.columns.iter().map(|column| (column, self.stride));
        whole.chain(self.next.iter().map(|(column, count)| (column, *count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Column for Vec<usize> {
        fn join(&mut self, later: &Self) {
            self.extend(later);
        }
    }

    #[test]
    fn every_value_is_in_its_column_and_there_are_never_too_many() {
        let mut series = Series::new(6);
        for n in 0..1000 {
            series.push(vec![n]);
            let (columns, counts): (Vec<_>, Vec<_>) = series.columns().map(|(c, n)| (c.clone(), n)).unzip();
            assert!(columns.len() <= 7);
            assert_eq!(columns.concat(), (0..=n).collect::<Vec<_>>());
            assert!(columns.iter().zip(&counts).all(|(column, count)| column.len() == *count));
            assert!(counts[..counts.len() - 1].iter().all(|count| *count == series.stride()));
        }
        assert_eq!(series.stride(), 256);
    }
}
