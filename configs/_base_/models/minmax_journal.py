# Min-max entropy localisation with the journal's loss: CE on the kept side, a surrogate of the entropy (SEM) on the rest
# with a tiny weight, a log barrier on both areas, recursive erasing from the second epoch. A model adds the backbone.
model = dict(
    type='mmentropy.MinMaxLocalizer',
    head=dict(type='mmentropy.WildcatHead', maps_per_class=5, kmax=0.09),
    localizer=dict(type='mmentropy.WildcatHead', maps_per_class=5, kmax=0.09),
    mask=dict(omega=8.0, sigma=0.5),
    rest=dict(loss='sem', weight=1e-7),
    barrier=dict(t=5.0),
    erasing=dict(steps=4, sigma=10.0, start_epoch=1),
    input_scale=0.5,
)
