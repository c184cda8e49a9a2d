"""What commands share: data, training, evaluation and tracking meet here."""
