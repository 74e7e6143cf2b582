"""What the house does. No feature knows another; work for another goes through a job."""
