"""What a picture is: its type, its size, its format, and where text hides one."""
