# The package as its users have it: the demo asks an old team's notes, from nothing to answers.
{
  runCommand,
  withEmbedded,
}:
{
  demo =
    runCommand "nakamura-misaki-demo"
      {
        nativeBuildInputs = [ withEmbedded ];
      }
      ''
        export HOME=$TMPDIR
        nakamura-misaki demo | tee demo.txt
        nakamura-misaki --demo doctor
        nakamura-misaki embedded stop
        grep -q 'looked for by vector and by words' demo.txt
        mv demo.txt $out
      '';
}
