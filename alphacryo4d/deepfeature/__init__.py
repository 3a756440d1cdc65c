"""Deep features of the volumes by a 3D residual autoencoder (4.2-4.4)."""
