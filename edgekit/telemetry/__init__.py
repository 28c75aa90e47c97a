"""What models see and answer on their devices: `reporter` counts there, `collector` takes in, `drift` judges."""
