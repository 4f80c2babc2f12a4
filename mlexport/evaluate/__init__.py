"""What an artifact keeps of the full model: retrieval, neighbours, similarities, with intervals; numpy alone."""
