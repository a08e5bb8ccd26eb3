"""When things happen: jobs, schedules and sensors. A tick looks and asks for a run; it computes nothing."""
