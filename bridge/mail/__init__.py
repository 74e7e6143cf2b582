"""Letters out of the house: the hand that reaches the mail server."""
